package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
)

// rollback brings resources back: to the state as of a revision, or to before one change.
func (s *Server) rollback(ctx context.Context, req *adminv1.RollbackRequest) (*adminv1.RollbackResponse, error) {
	entry, err := note(ctx, actionRollback, req.GetNote())
	if err != nil {
		return nil, err
	}
	if req.GetOnly() && req.GetRevision() == 0 || req.GetRevision() < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("rollback of revision %d: name one that `weft history` lists", req.GetRevision()))
	}
	var warnings []document.Problem
	p, revision, err := s.transact(ctx, req.GetDryRun(), func(v *view) (*plan, error) {
		p := &plan{entry: entry}
		undo, err := undone(v, req, &p.entry)
		if err != nil {
			return nil, err
		}
		if p.changes, err = s.undo(ctx, v, undo, req.GetForce()); err != nil {
			return nil, err
		}
		_, warnings = s.wouldBe(v, p.changes)
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.RollbackResponse{
		Revision: revision, Changes: changesProto(p.changes), Warnings: problemsProto(warnings),
		RolledBackTo: p.entry.RolledBackTo, Undone: p.entry.Undone,
	}, nil
}

// undone returns the entries that a request wants undone, newest first, and notes in entry what that is.
func undone(v *view, req *adminv1.RollbackRequest, entry *historyRecord) ([]historyEntry, error) {
	if len(v.history) == 0 {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is nothing to undo: the history is empty"))
	}
	revision, oldest := req.GetRevision(), v.history[len(v.history)-1].Revision
	switch {
	case revision == 0:
		entry.Undone = v.history[0].Revision
		return v.history[:1], nil
	case revision > v.revision:
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no revision %d yet: the last change is %d", revision, v.history[0].Revision))
	case req.GetOnly():
		at := slices.IndexFunc(v.history, func(e historyEntry) bool { return e.Revision == revision })
		if at < 0 {
			return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("the history has no change of revision %d; `weft history` lists what it has", revision))
		}
		entry.Undone = revision
		return v.history[at : at+1], nil
	case revision < oldest:
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf(
			"the state as of revision %d is not known: the history begins with %d, and keeps %d changes and %d days", revision, oldest, maxHistory, maxHistoryAge/(24*60*60*1e9)))
	}
	entry.RolledBackTo = revision
	return v.history[:slices.IndexFunc(v.history, func(e historyEntry) bool { return e.Revision <= revision })], nil
}

// target is where a resource should be and where it should be now, if nobody interfered.
type target struct {
	change   historyChange
	to, from *resourceRecord // nil: there is none
	revision int64           // of the last change that is undone
}

// undo returns the changes that take back entries, which are newest first. A resource that is not as the entries
// left it was changed by somebody since: that is an error unless force.
func (s *Server) undo(ctx context.Context, v *view, entries []historyEntry, force bool) ([]change, error) {
	targets := map[config.ResourceKey]*target{}
	for i := range entries {
		texts, err := s.texts(ctx, &entries[i])
		if err != nil {
			return nil, err
		}
		for j, c := range entries[i].Changes {
			if err := errors.Join(texts[j].Before.open(s.ca, c.key()), texts[j].After.open(s.ca, c.key())); err != nil {
				return nil, connect.NewError(connect.CodeDataLoss, fmt.Errorf("the history of %w", err))
			}
			t := targets[c.key()]
			if t == nil {
				t = &target{change: c, from: texts[j].After, revision: entries[i].Revision}
				targets[c.key()] = t
			}
			t.to = texts[j].Before
		}
	}
	var changes []change
	var conflicts []string
	for k, t := range targets {
		c, err := v.restore(k, t)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		if now, ok := v.resources[k]; !force && !c.unneeded() && !same(t.from, now, ok) {
			conflicts = append(conflicts, v.conflict(k, t))
			continue
		}
		changes = append(changes, *c)
	}
	if len(conflicts) > 0 {
		slices.Sort(conflicts)
		return nil, connect.NewError(connect.CodeFailedPrecondition, &conflictError{conflicts})
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.key.Kind, b.key.Kind), cmp.Compare(a.key.Namespace, b.key.Namespace), cmp.Compare(a.key.Name, b.key.Name))
	})
	return changes, nil
}

// conflictError says which resources cannot be brought back, and why.
type conflictError struct{ conflicts []string }

func (e *conflictError) Error() string {
	return fmt.Sprintf("nothing was changed: %s; roll back to an earlier revision (`weft history` lists them), or overwrite with --force",
		strings.Join(e.conflicts, "; "))
}

// same reports whether a resource is what a record says.
func same(r *resourceRecord, now stored, ok bool) bool {
	if r == nil || !ok {
		return r == nil && !ok
	}
	return r.YAML == now.YAML && r.private == string(now.Private())
}

func (c *change) unneeded() bool { return c.action() == actionUnchanged }

// conflict says who changed a resource since.
func (v *view) conflict(k config.ResourceKey, t *target) string {
	for i := range v.history {
		e := &v.history[i]
		if e.Revision > t.revision && slices.ContainsFunc(e.Changes, func(c historyChange) bool { return c.key() == k }) {
			return fmt.Sprintf("%s was changed since, in revision %d (%s%s)", k, e.Revision, e.Action, by(e.Author, e.Caller))
		}
	}
	return fmt.Sprintf("%s is not as revision %d left it, and the history does not know who changed it", k, t.revision)
}

func by(names ...string) string {
	if who := cmp.Or(names...); who != "" {
		return " by " + who
	}
	return ""
}

// restore returns the change that makes a resource what a record says; nil when there is none and none is wanted.
func (v *view) restore(k config.ResourceKey, t *target) (*change, error) {
	c := &change{key: k, api: t.change.APIVersion}
	if now, ok := v.resources[k]; ok {
		c.before, c.api = &now, now.APIVersion
	}
	if t.to == nil {
		if c.before == nil {
			return nil, nil
		}
		return c, nil
	}
	parsed, problems := config.ParseSet([]document.Source{t.to.source()}, document.Limits{})
	switch {
	case problems.Failed():
		return nil, invalid(problems) // a version of Weft since then refuses it
	case len(parsed) != 1 || parsed[0].Key != k:
		return nil, connect.NewError(connect.CodeDataLoss, fmt.Errorf("the history holds another resource in place of %s", k))
	}
	parsed[0].Created = t.to.Created
	c.after, c.api = &parsed[0], parsed[0].APIVersion
	return c, nil
}
