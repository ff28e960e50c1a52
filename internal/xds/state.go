package xds

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// ProxyState is what the server knows of a connected proxy.
type ProxyState struct {
	Node          *discoveryv1.Node
	Identity      model.Identity
	Connected     time.Time
	SentRevision  int64     // the last sent
	AckedRevision int64     // the latest it runs, or that changed nothing for it
	Acked         time.Time // of the last ACK; zero before the first
	Nack          string    // why it refused, "" once it runs what the mesh wants
	NackRevision  int64
	Subscriptions []string // NAMESPACE/NAME, sorted
}

// Proxies returns the connected proxies by ID.
func (s *Server) Proxies() []ProxyState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ProxyState, 0, len(s.streams))
	for _, st := range s.streams {
		p := ProxyState{
			Node: st.node, Identity: st.identity, Connected: st.connected, SentRevision: st.sent,
			AckedRevision: st.acked, Acked: st.ackedAt, Nack: st.nack, NackRevision: st.nackRevision,
		}
		for n := range st.names {
			p.Subscriptions = append(p.Subscriptions, n.String())
		}
		slices.Sort(p.Subscriptions)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b ProxyState) int { return cmp.Compare(a.Node.GetId(), b.Node.GetId()) })
	return out
}

// Mesh returns the mesh last published, nil before the first.
func (s *Server) Mesh() *Mesh {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mesh
}

// Pushes returns how many responses were sent since the start.
func (s *Server) Pushes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushes
}

// Snapshot returns what a proxy acknowledged on its stream. A proxy that resumed its stream holds resources that
// this server did not send on it; where their versions are still those of the mesh they are filled in
// from it. ok is false if no proxy of that ID is connected.
func (s *Server) Snapshot(id string) (snap *model.Snapshot, ok bool, err error) {
	s.mu.Lock()
	st := s.streams[id]
	if st == nil {
		s.mu.Unlock()
		return nil, false, nil
	}
	kept := maps.Clone(st.kept)
	if s.mesh != nil {
		s.desired(st) // fills the cache with what the proxy may hold
		for name, version := range st.held {
			if r := s.body(st, name); kept[name] == nil && r.GetVersion() == version {
				kept[name] = r
			}
		}
	}
	revision := st.acked
	s.mu.Unlock()
	snap, err = SnapshotFromResources(revision, slices.Collect(maps.Values(kept)))
	return snap, true, err
}

// WaitResult says how a revision arrived at the proxies of this server.
type WaitResult struct {
	Current int               // proxies that run it
	Refused map[string]string // proxy ID -> reason
	Pending []string          // proxies that had not answered when ctx ended, sorted
}

// Wait returns when every connected proxy runs at least the revision or one has refused it, and otherwise
// with the pending ones when ctx ends. behind says that the mesh itself had not reached the revision.
func (s *Server) Wait(ctx context.Context, revision int64) (r WaitResult, behind bool) {
	for {
		s.mu.Lock()
		r, behind = s.progress(revision)
		changed := s.changed
		s.mu.Unlock()
		if !behind && (len(r.Pending) == 0 || len(r.Refused) > 0) {
			return r, false
		}
		select {
		case <-changed:
		case <-s.done:
			return r, behind
		case <-ctx.Done():
			return r, behind
		}
	}
}

func (s *Server) progress(revision int64) (WaitResult, bool) {
	r := WaitResult{Refused: map[string]string{}}
	for id, st := range s.streams {
		switch {
		case st.nack != "" && st.nackRevision >= revision:
			r.Refused[id] = st.nack
		case st.acked >= revision:
			r.Current++
		default:
			r.Pending = append(r.Pending, id)
		}
	}
	slices.Sort(r.Pending)
	return r, s.mesh == nil || s.mesh.Revision < revision
}
