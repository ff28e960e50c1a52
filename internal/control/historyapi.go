package control

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/config"
)

// History returns the changes that are kept, newest first; one of them with what it changed.
func (a *admin) History(ctx context.Context, req *connect.Request[adminv1.HistoryRequest]) (*connect.Response[adminv1.HistoryResponse], error) {
	m := req.Msg
	var kind string
	if m.GetKind() != "" {
		k, ok := config.LookupKind(m.GetKind())
		if !ok {
			return nil, unknownKind(m.GetKind())
		}
		kind = k.Key()
	}
	v, _ := a.s.state.read(false)
	resp := &adminv1.HistoryResponse{Revision: v.revision}
	for i := range v.history {
		e := &v.history[i]
		if m.GetRevision() != 0 && e.Revision != m.GetRevision() || !e.touches(kind, m.GetNamespace(), m.GetName()) {
			continue
		}
		if m.GetLimit() > 0 && len(resp.Entries) >= int(m.GetLimit()) {
			break
		}
		out := a.s.entryProto(e, &v)
		if m.GetRevision() != 0 {
			texts, err := a.s.texts(ctx, e)
			if err != nil {
				return nil, err
			}
			for j, t := range texts {
				out.Changes[j].Before, out.Changes[j].After = t.Before.text(), t.After.text()
			}
		}
		resp.Entries = append(resp.Entries, out)
	}
	if m.GetRevision() != 0 && len(resp.GetEntries()) == 0 {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("the history has no change of revision %d; `weft history` lists what it has", m.GetRevision()))
	}
	return connect.NewResponse(resp), nil
}

// Rollback undoes changes.
func (a *admin) Rollback(ctx context.Context, req *connect.Request[adminv1.RollbackRequest]) (*connect.Response[adminv1.RollbackResponse], error) {
	resp, err := a.s.rollback(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(resp), nil
}

// text is the document, "" of a resource that there was not.
func (r *resourceRecord) text() string {
	if r == nil {
		return ""
	}
	return r.YAML
}

// touches reports whether an entry changed such a resource; "" is any.
func (e *historyEntry) touches(kind, namespace, name string) bool {
	if kind == "" && namespace == "" && name == "" {
		return true
	}
	for _, c := range e.Changes {
		if (kind == "" || c.Kind == kind) && (namespace == "" || c.Namespace == namespace) && (name == "" || c.Name == name) {
			return true
		}
	}
	return false
}

func (s *Server) entryProto(e *historyEntry, v *view) *adminv1.HistoryEntry {
	out := &adminv1.HistoryEntry{
		Revision: e.Revision, Time: timestamppb.New(e.Time), Action: e.Action, Author: e.Author, Caller: e.Caller, Message: e.Message,
		RolledBackTo: e.RolledBackTo, Undone: e.Undone,
	}
	for _, c := range e.Changes {
		out.Changes = append(out.Changes, &adminv1.Change{
			Resource: &adminv1.ResourceRef{ApiVersion: c.APIVersion, Kind: c.Kind, Namespace: c.Namespace, Name: c.Name}, Action: c.Action,
		})
	}
	switch g, running := v.guards[e.ID]; {
	case e.Guard != nil:
		out.Guard = e.Guard.proto(v.undoneBy(e))
	case running:
		out.Guard = g.proto()
	}
	return out
}

// undoneBy returns the revision in which a guard undid its change; 0 if it did not.
func (v *view) undoneBy(e *historyEntry) int64 {
	if e.Guard.State != adminv1.GuardStatus_STATE_ROLLED_BACK {
		return 0
	}
	for i := len(v.history) - 1; i >= 0; i-- { // the oldest after the change
		if r := &v.history[i]; r.Undone == e.Revision {
			return r.Revision
		}
	}
	return 0
}
