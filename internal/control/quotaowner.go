package control

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

// owners are the control planes that run, by the address at which others reach them. A control plane that takes the
// place of a killed one at its address is the same member.
type owners struct {
	self string
	all  []string // sorted
}

// of returns the address of who counts a limit: the highest of the hashes of both (rendezvous hashing; Thaler and
// Ravishankar, "Using name-based mappings to increase hit rates", 1998). Before any has announced itself it is self.
func (o *owners) of(id model.LimitID) string {
	best, most := o.self, uint64(0)
	for i, address := range o.all {
		h := xxhash.New()
		_, _ = h.WriteString(address)
		_, _ = h.Write(id[:])
		if sum := h.Sum64(); i == 0 || sum > most {
			best, most = address, sum
		}
	}
	return best
}

// members takes who runs, as the store says. What is not counted here any more is dropped: should it come back, what
// was granted in the meantime would not be known.
func (q *quotas) members(instances map[string]instanceRecord) {
	all := make([]string, 0, len(instances))
	for _, rec := range instances {
		all = append(all, rec.Address)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.Equal(all, q.owners.all) && q.owners.self != "" {
		return
	}
	q.owners = owners{self: q.s.peerAddress(), all: all}
	for id := range q.ledgers {
		if q.owners.of(id) != q.owners.self {
			delete(q.ledgers, id)
		}
	}
	for address, p := range q.peers {
		if !slices.Contains(all, address) {
			p.closeIdle()
			delete(q.peers, address)
		}
	}
}

// quotaPeer is a control plane to which questions are passed on, several times a second.
type quotaPeer struct {
	client    discoveryv1connect.DiscoveryServiceClient
	closeIdle func()
}

func (q *quotas) peer(address string) *quotaPeer {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.peers[address]
	if p == nil {
		c, closeIdle := q.s.peerHTTP(address)
		p = &quotaPeer{discoveryv1connect.NewDiscoveryServiceClient(c, peerURL), closeIdle}
		q.peers[address] = p
	}
	return p
}

// close closes the connections to others, when no handler runs any more.
func (q *quotas) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.peers {
		p.closeIdle()
	}
}
