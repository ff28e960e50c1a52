package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
)

// maxChanges bounds the resources one call may change: they are one transaction, and etcd takes 128 operations.
const maxChanges = 120

// change is what one call does to one resource.
type change struct {
	key    config.ResourceKey
	api    string
	before *stored
	after  *config.Resource // nil: delete
}

func (c *change) action() string {
	switch {
	case c.after == nil:
		return "deleted"
	case c.before == nil:
		return "created"
	case c.before.YAML == c.after.YAML:
		return "unchanged"
	}
	return "configured"
}

func (c *change) proto() *adminv1.Change {
	out := &adminv1.Change{
		Resource: &adminv1.ResourceRef{ApiVersion: c.api, Kind: c.key.Kind, Namespace: c.key.Namespace, Name: c.key.Name},
		Action:   c.action(),
	}
	if c.before != nil {
		out.Before = c.before.YAML
	}
	if c.after != nil {
		out.After = c.after.YAML
	}
	return out
}

// apply checks a set of documents against the present state and stores all of it or nothing.
func (s *Server) apply(ctx context.Context, req *adminv1.ApplyRequest) (*adminv1.ApplyResponse, error) {
	var sources []document.Source
	for _, d := range req.GetDocuments() {
		sources = append(sources, document.Source{File: d.GetFile(), Data: []byte(d.GetText())})
	}
	set, problems := config.ParseSet(sources, document.Limits{})
	if problems.Failed() {
		return nil, invalid(problems)
	}
	var warnings []document.Problem
	changes, revision, err := s.transact(ctx, req.GetDryRun(), func(v *view) ([]change, error) {
		changes := v.changesFor(set)
		warnings = append(slices.Clone(problems), s.wouldWarn(v, changes)...)
		if req.GetStrict() && len(warnings) > 0 {
			return nil, invalid(warnings)
		}
		return changes, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.ApplyResponse{Revision: revision, Changes: changesProto(changes), Warnings: problemsProto(warnings)}, nil
}

// transact stores the changes that plan makes of the present state, all or none, and plans anew when somebody
// else was faster. It returns them and the revision that has them; with dryRun nothing is stored.
func (s *Server) transact(ctx context.Context, dryRun bool, plan func(*view) ([]change, error)) ([]change, int64, error) {
	for range maxRetries {
		v, _ := s.state.read(false)
		changes, err := plan(&v)
		if err != nil || dryRun {
			return changes, v.revision, err
		}
		revision, done, err := s.commit(ctx, changes, v.revision)
		if err != nil || done {
			return changes, revision, err
		}
		if err := s.catchUp(ctx, v.revision); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, connect.NewError(connect.CodeAborted, errors.New("others keep changing the same resources; try again"))
}

func changesProto(changes []change) []*adminv1.Change {
	out := make([]*adminv1.Change, 0, len(changes))
	for i := range changes {
		out = append(out, changes[i].proto())
	}
	return out
}

// changesFor compares a set with what is stored.
func (v *view) changesFor(set []config.Resource) []change {
	out := make([]change, 0, len(set))
	for i := range set {
		c := change{key: set[i].Key, api: set[i].APIVersion, after: &set[i]}
		if old, ok := v.resources[set[i].Key]; ok {
			c.before = &old
			set[i].Created = old.Created
		} else {
			set[i].Created = time.Now().UTC().Truncate(time.Millisecond)
		}
		out = append(out, c)
	}
	return out
}

// wouldWarn compiles the state as it would be and returns the warnings about the resources of the set.
func (s *Server) wouldWarn(v *view, changes []change) []document.Problem {
	in := config.Input{TrustDomain: s.ca.TrustDomain(), Registry: v.registry}
	files := map[string]bool{}
	changed := map[config.ResourceKey]bool{}
	for _, c := range changes {
		changed[c.key] = true
		if c.after != nil {
			in.Resources = append(in.Resources, *c.after)
			files[c.after.File] = true
		}
	}
	for k, r := range v.resources {
		if !changed[k] {
			in.Resources = append(in.Resources, r.Resource)
		}
	}
	_, all := config.Compile(in)
	return slices.DeleteFunc(all, func(p document.Problem) bool { return !files[p.File] })
}

// commit stores changes in one transaction, unless somebody else has changed one of them since.
func (s *Server) commit(ctx context.Context, changes []change, present int64) (revision int64, done bool, err error) {
	var cmps []clientv3.Cmp
	var ops []clientv3.Op
	for i := range changes {
		c := &changes[i]
		if c.action() == "unchanged" {
			continue
		}
		key, seen := s.store.Prefix()+resourceKey(c.key), int64(0)
		if c.before != nil {
			seen = c.before.ModRevision
		}
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", seen))
		if c.after == nil {
			ops = append(ops, clientv3.OpDelete(key))
			continue
		}
		value, err := encode(resourceRecord{YAML: c.after.YAML, File: c.after.File, BaseLine: c.after.BaseLine, Created: c.after.Created})
		if err != nil {
			return 0, false, err
		}
		ops = append(ops, clientv3.OpPut(key, value))
	}
	switch {
	case len(ops) == 0:
		return present, true, nil
	case len(ops) > maxChanges:
		return 0, false, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("%d resources would change; one call changes at most %d, so that all or none of them do: apply in parts", len(ops), maxChanges))
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	resp, err := s.store.Client().Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, false, unavailable(err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// catchUp waits until the state has seen more than a revision.
func (s *Server) catchUp(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, _ := s.state.read(false); v.revision > revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return unavailable(errors.New("the store's changes do not arrive"))
		case <-tick.C:
		}
	}
}

// remove deletes resources, all or none.
func (s *Server) remove(ctx context.Context, req *adminv1.DeleteRequest) (*adminv1.DeleteResponse, error) {
	keys, err := deleteKeys(req)
	if err != nil {
		return nil, err
	}
	changes, revision, err := s.transact(ctx, req.GetDryRun(), func(v *view) ([]change, error) {
		var changes []change
		for _, k := range keys {
			old, ok := v.resources[k]
			switch {
			case ok:
				changes = append(changes, change{key: k, api: old.APIVersion, before: &old})
			case !req.GetIgnoreMissing():
				return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no %s", k))
			}
		}
		return changes, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteResponse{Revision: revision, Changes: changesProto(changes)}, nil
}

// deleteKeys returns what a call names, by reference or by documents.
func deleteKeys(req *adminv1.DeleteRequest) ([]config.ResourceKey, error) {
	var keys []config.ResourceKey
	for _, r := range req.GetResources() {
		kind, ok := config.LookupKind(r.GetKind())
		if !ok {
			return nil, unknownKind(r.GetKind())
		}
		ns := r.GetNamespace()
		if ns == "" {
			ns = document.DefaultNamespace
		}
		keys = append(keys, config.ResourceKey{Kind: kind.Name, Namespace: ns, Name: r.GetName()})
	}
	if len(req.GetDocuments()) == 0 {
		return keys, nil
	}
	var sources []document.Source
	for _, d := range req.GetDocuments() {
		sources = append(sources, document.Source{File: d.GetFile(), Data: []byte(d.GetText())})
	}
	docs, problems := document.ParseSet(sources, document.Limits{})
	if problems.Failed() {
		return nil, invalid(problems)
	}
	for _, d := range docs {
		kind, ok := config.LookupKind(d.Kind)
		if !ok {
			return nil, unknownKind(d.Kind)
		}
		keys = append(keys, config.ResourceKey{Kind: kind.Name, Namespace: d.Namespace, Name: d.Name})
	}
	return keys, nil
}

func unknownKind(name string) error {
	var known []string
	for _, k := range config.Kinds() {
		known = append(known, k.Plural)
	}
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("unknown kind %q; known are %s", name, strings.Join(known, ", ")))
}

// invalid is an error that carries what is wrong with documents.
func invalid(problems []document.Problem) error {
	err := connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d problems in the documents; nothing was changed", len(problems)))
	if detail, derr := connect.NewErrorDetail(&adminv1.Problems{Problems: problemsProto(problems)}); derr == nil {
		err.AddDetail(detail)
	}
	return err
}

func problemsProto(problems []document.Problem) []*adminv1.Problem {
	var out []*adminv1.Problem
	for _, p := range problems {
		out = append(out, &adminv1.Problem{
			File: p.File, Line: int32(p.Line), Column: int32(p.Column), Field: p.Field, Message: p.Message, Remedy: p.Remedy,
		})
	}
	return out
}
