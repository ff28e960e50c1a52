package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/control/store"
	"github.com/weft-mesh/weft/internal/model"
)

// state mirrors the store. One goroutine follows the store's watch; everyone else reads copies.
type state struct {
	store *store.Store
	seal  sealer
	log   *slog.Logger

	mu        sync.Mutex
	revision  int64
	resources map[config.ResourceKey]stored
	services  map[model.ServiceName]serviceRecord
	endpoints map[string]endpointRecord
	instances map[string]instanceRecord
	history   []historyEntry // newest first
	guards    map[string]guardRecord
	guardians map[string]string // history ID -> instance
	dirty     bool              // something that is compiled has changed
	changed   chan struct{}     // capacity 1
}

// stored is a resource with the revision of its last change.
type stored struct {
	config.Resource
	ModRevision int64
}

func newState(s *store.Store, seal sealer, log *slog.Logger) *state {
	st := &state{store: s, seal: seal, log: log, changed: make(chan struct{}, 1)}
	st.clear()
	return st
}

func (s *state) clear() {
	s.resources = map[config.ResourceKey]stored{}
	s.services = map[model.ServiceName]serviceRecord{}
	s.endpoints = map[string]endpointRecord{}
	s.instances = map[string]instanceRecord{}
	s.history = nil
	s.guards = map[string]guardRecord{}
	s.guardians = map[string]string{}
}

// load reads everything, as of one revision.
func (s *state) load(ctx context.Context) error {
	const page = 1000
	prefix := s.store.Prefix()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	from, end, revision := prefix, clientv3.GetPrefixRangeEnd(prefix), int64(0)
	for {
		resp, err := s.store.Client().Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			return fmt.Errorf("read the store: %w", err)
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			s.put(kv)
		}
		if !resp.More {
			break
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	s.revision, s.dirty = revision, true
	s.poke()
	return nil
}

// run follows the store until ctx ends. When a watch breaks the last state stays, and the next watch goes on
// where it ended, or everything is read anew if that is too long ago.
func (s *state) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("watch of the store ended: going on with the last state", "error", err)
		pause := time.NewTimer(500 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		if errors.Is(err, errCompacted) {
			if err := s.load(ctx); err != nil {
				s.log.Warn("the store cannot be read", "error", err)
			}
		}
	}
	return nil
}

var errCompacted = errors.New("the store no longer has the changes since the last one seen")

func (s *state) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	s.mu.Lock()
	from := s.revision + 1
	s.mu.Unlock()
	for resp := range s.store.Client().Watch(ctx, s.store.Prefix(), clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if resp.CompactRevision > 0 {
			return errCompacted
		}
		if err := resp.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete {
				s.del(string(ev.Kv.Key))
			} else {
				s.put(ev.Kv)
			}
		}
		s.revision = max(s.revision, resp.Header.Revision)
		s.poke()
		s.mu.Unlock()
	}
	return errors.New("the store ended the watch")
}

func (s *state) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// put takes a key's new value. One that cannot be read is left out and said: it must not stop the rest.
func (s *state) put(kv *mvccpb.KeyValue) {
	key := strings.TrimPrefix(string(kv.Key), s.store.Prefix())
	var err error
	switch {
	case strings.HasPrefix(key, dirResources):
		err = s.putResource(key, kv)
	case strings.HasPrefix(key, dirServices):
		var n model.ServiceName
		if err = n.UnmarshalText([]byte(strings.TrimPrefix(key, dirServices))); err == nil {
			s.services[n], err = decode[serviceRecord](key, kv.Value)
		}
		s.dirty = true
	case strings.HasPrefix(key, dirEndpoints):
		s.endpoints[strings.TrimPrefix(key, dirEndpoints)], err = decode[endpointRecord](key, kv.Value)
		s.dirty = true
	case strings.HasPrefix(key, dirInstances):
		s.instances[strings.TrimPrefix(key, dirInstances)], err = decode[instanceRecord](key, kv.Value)
	case strings.HasPrefix(key, dirHistory):
		err = s.putHistory(key, kv)
	case strings.HasPrefix(key, dirGuards):
		s.guards[strings.TrimPrefix(key, dirGuards)], err = decode[guardRecord](key, kv.Value)
	case strings.HasPrefix(key, dirGuardians):
		s.guardians[strings.TrimPrefix(key, dirGuardians)] = string(kv.Value)
	}
	if err != nil {
		s.log.Error("a record of the store cannot be used", "error", err)
	}
}

func (s *state) putResource(key string, kv *mvccpb.KeyValue) error {
	k, err := parseResourceKey(key)
	if err != nil {
		return err
	}
	rec, err := decode[resourceRecord](key, kv.Value)
	if err != nil {
		return err
	}
	if err := rec.open(s.seal, k); err != nil {
		return fmt.Errorf("store key %s: %w", key, err)
	}
	parsed, problems := config.ParseSet([]document.Source{rec.source()}, document.Limits{})
	if problems.Failed() {
		return fmt.Errorf("store key %s: %w", key, problems.Err())
	}
	if len(parsed) != 1 || parsed[0].Key != k {
		return fmt.Errorf("store key %s holds another resource", key)
	}
	parsed[0].Created = rec.Created
	s.resources[k] = stored{parsed[0], kv.ModRevision}
	s.dirty = true
	return nil
}

func (s *state) del(fullKey string) {
	key := strings.TrimPrefix(fullKey, s.store.Prefix())
	switch {
	case strings.HasPrefix(key, dirResources):
		if k, err := parseResourceKey(key); err == nil {
			delete(s.resources, k)
		}
	case strings.HasPrefix(key, dirServices):
		var n model.ServiceName
		if n.UnmarshalText([]byte(strings.TrimPrefix(key, dirServices))) == nil {
			delete(s.services, n)
		}
	case strings.HasPrefix(key, dirEndpoints):
		delete(s.endpoints, strings.TrimPrefix(key, dirEndpoints))
	case strings.HasPrefix(key, dirInstances):
		delete(s.instances, strings.TrimPrefix(key, dirInstances))
		return
	case strings.HasPrefix(key, dirHistory):
		s.delHistory(strings.TrimSuffix(strings.TrimPrefix(key, dirHistory), "/head"))
		return
	case strings.HasPrefix(key, dirGuards):
		delete(s.guards, strings.TrimPrefix(key, dirGuards))
		return
	case strings.HasPrefix(key, dirGuardians):
		delete(s.guardians, strings.TrimPrefix(key, dirGuardians))
		return
	}
	s.dirty = true
}

// view is a consistent copy of what is compiled.
type view struct {
	revision  int64
	resources map[config.ResourceKey]stored
	registry  config.Registry
	history   []historyEntry         // newest first
	guards    map[string]guardRecord // by history ID; those that have not ended
}

// guarded reports whether a guard watches the change of a history ID.
func (v *view) guarded(id string) bool { _, ok := v.guards[id]; return ok }

// read returns the present state and whether what is compiled has changed since take was last set.
func (s *state) read(take bool) (v view, dirty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirty = s.dirty
	if take {
		s.dirty = false
	}
	byService := map[model.ServiceName][]model.Endpoint{}
	for _, e := range s.endpoints {
		byService[e.Service] = append(byService[e.Service], e.Endpoint)
	}
	v = view{revision: s.revision, resources: maps.Clone(s.resources), history: slices.Clone(s.history), guards: maps.Clone(s.guards)}
	v.registry.Versions = make(map[model.ServiceName][]string, len(s.services))
	for n, rec := range s.services {
		v.registry.Versions[n] = rec.Versions
		v.registry.Services = append(v.registry.Services, model.Service{
			Name: n, VIP: rec.VIP, Ports: slices.Clone(rec.Ports), Endpoints: byService[n],
		})
	}
	return v, dirty
}

// input is what the compiler wants.
func (v *view) input(trustDomain string) config.Input {
	in := config.Input{TrustDomain: trustDomain, Registry: v.registry}
	for _, r := range v.resources {
		in.Resources = append(in.Resources, r.Resource)
	}
	return in
}

func (s *state) peers() map[string]instanceRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.instances)
}
