package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
)

// maxChanges bounds the resources one call may change: they are one transaction, and etcd takes 128 operations, of
// which the history and a guard need up to seven.
const maxChanges = 120

// change is what one call does to one resource.
type change struct {
	key    config.ResourceKey
	api    string
	before *stored
	after  *config.Resource // nil: delete
}

// actionUnchanged is said of a resource that is as it should be.
const actionUnchanged = "unchanged"

func (c *change) action() string {
	switch {
	case c.after == nil:
		return "deleted"
	case c.before == nil:
		return "created"
	case c.before.SameText(*c.after):
		return actionUnchanged
	}
	return "configured"
}

// plan is what a call makes of the present state.
type plan struct {
	changes []change
	entry   historyRecord // of the history; its time and changes are filled in
	guard   *guardRecord  // nil: none

	// What has to hold besides that nobody changed the same resources, and what is stored besides.
	conditions []clientv3.Cmp
	ops        []clientv3.Op
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

// needed reports whether a plan changes a resource.
func (p *plan) needed() bool {
	return slices.ContainsFunc(p.changes, func(c change) bool { return c.action() != actionUnchanged })
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
	entry, err := note(ctx, actionApply, req.GetNote())
	if err != nil {
		return nil, err
	}
	spec, err := guardSpec(req.GetGuard())
	if err != nil {
		return nil, err
	}
	var warnings []document.Problem
	p, revision, err := s.transact(ctx, req.GetDryRun(), func(v *view) (*plan, error) {
		p := &plan{changes: v.changesFor(set), entry: entry}
		mesh, warned := s.wouldBe(v, p.changes)
		warnings = append(slices.Clone(problems), warned...)
		if req.GetStrict() && len(warnings) > 0 || document.Problems(warnings).Failed() {
			return nil, invalid(warnings)
		}
		if spec == nil || !p.needed() {
			return p, nil
		}
		var err error
		p.guard, err = s.newGuard(ctx, spec, v, mesh)
		return p, err
	})
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ApplyResponse{Revision: revision, Changes: changesProto(p.changes), Warnings: problemsProto(warnings)}
	if p.guard != nil {
		resp.Guarded = p.guard.serviceNames()
	}
	return resp, nil
}

// transact stores what makePlan makes of the present state, all or none, and plans anew when somebody else was
// faster. It returns the plan and the revision that has it; with dryRun nothing is stored.
func (s *Server) transact(ctx context.Context, dryRun bool, makePlan func(*view) (*plan, error)) (*plan, int64, error) {
	for range maxRetries {
		v, _ := s.state.read(false)
		p, err := makePlan(&v)
		if err != nil || dryRun {
			return p, v.revision, err
		}
		revision, done, err := s.commit(ctx, p, &v)
		if err != nil {
			return nil, 0, err
		}
		if done {
			// Who asks us next shall see it.
			return p, revision, s.catchUp(ctx, revision-1)
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

// wouldBe compiles the state as it would be. It returns the mesh and the warnings about the resources of the set.
func (s *Server) wouldBe(v *view, changes []change) (*config.Mesh, []document.Problem) {
	in := config.Input{TrustDomain: s.ca.TrustDomain(), Registry: v.registry, Now: time.Now()}
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
	mesh, all := config.Compile(in)
	return mesh, slices.DeleteFunc(all, func(p document.Problem) bool { return !files[p.File] })
}

// commit stores a plan in one transaction, unless somebody else has changed one of its resources since.
func (s *Server) commit(ctx context.Context, p *plan, v *view) (revision int64, done bool, err error) {
	conditions, ops, err := s.resourceOps(p.changes)
	switch {
	case err != nil:
		return 0, false, err
	case len(ops) == 0 && len(p.ops) == 0:
		return v.revision, true, nil
	case len(ops) > maxChanges:
		return 0, false, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("%d resources would change; one call changes at most %d, so that all or none of them do: apply in parts", len(ops), maxChanges))
	}
	p.entry.Time = time.Now().UTC().Truncate(time.Millisecond)
	id := newHistoryID(p.entry.Time)
	history, err := s.historyOps(id, p.entry, p.changes, v)
	if err != nil {
		return 0, false, err
	}
	ops = append(append(ops, history...), p.ops...)
	if p.guard != nil {
		value, err := encode(p.guard)
		if err != nil {
			return 0, false, err
		}
		ops = append(ops, clientv3.OpPut(s.store.Prefix()+dirGuards+id, value))
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	resp, err := s.store.Client().Txn(ctx).If(append(conditions, p.conditions...)...).Then(ops...).Commit()
	if err != nil {
		return 0, false, storeError(err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// resourceOps returns what stores changes, and the conditions under which it may.
func (s *Server) resourceOps(changes []change) (conditions []clientv3.Cmp, ops []clientv3.Op, err error) {
	for i := range changes {
		c := &changes[i]
		if c.action() == actionUnchanged {
			continue
		}
		key, seen := s.store.Prefix()+resourceKey(c.key), int64(0)
		if c.before != nil {
			seen = c.before.ModRevision
		}
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", seen))
		if c.after == nil {
			ops = append(ops, clientv3.OpDelete(key))
			continue
		}
		value, err := encode(recordOf(s.ca, c.after))
		if err != nil {
			return nil, nil, err
		}
		ops = append(ops, clientv3.OpPut(key, value))
	}
	return conditions, ops, nil
}

// storeError says what a failed transaction means for the caller.
func storeError(err error) error {
	if errors.Is(err, rpctypes.ErrRequestTooLarge) || status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "message larger than max") {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the resources are too large for one step of the store; apply in parts: %w", err))
	}
	return unavailable(err)
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
	entry, err := note(ctx, actionDelete, req.GetNote())
	if err != nil {
		return nil, err
	}
	p, revision, err := s.transact(ctx, req.GetDryRun(), func(v *view) (*plan, error) {
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
		return &plan{changes: changes, entry: entry}, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteResponse{Revision: revision, Changes: changesProto(p.changes)}, nil
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
		keys = append(keys, config.ResourceKey{Kind: kind.Key(), Namespace: ns, Name: r.GetName()})
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
		kind, ok := config.KindOf(d.Kind, d.APIVersion)
		if !ok {
			return nil, unknownKind(d.Kind)
		}
		keys = append(keys, config.ResourceKey{Kind: kind.Key(), Namespace: d.Namespace, Name: d.Name})
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
