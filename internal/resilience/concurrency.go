package resilience

import (
	"cmp"
	"fmt"
	"math"

	"github.com/weft-mesh/weft/internal/model"
)

const defaultPending = 4096 // for each endpoint

// Kind is what Concurrency counts.
type Kind uint8

const (
	Requests Kind = iota // in flight, from the choice of an endpoint to the end of the answer
	Pending              // that wait for a connection or a stream
	Retries              // in flight
	Opened               // connections
	kinds
)

// String names the kind and the field that bounds it.
func (k Kind) String() string {
	switch k {
	case Requests:
		return "requests in flight (connections.requests)"
	case Pending:
		return "requests that wait for a connection (connections.pending)"
	case Retries:
		return "retries in flight (connections.retries)"
	case Opened:
		return "connections (connections.max)"
	}
	return "unknown kind"
}

// Concurrency bounds what one event loop has in flight to the endpoints of a service (Envoy's circuit breakers). Every
// Acquire that succeeds is followed by one Release.
type Concurrency struct {
	most    [kinds]int
	now     [kinds]int
	refused [kinds]uint64
}

// NewConcurrency compiles bounds for one of share event loops that divide them among them; each has at least 1. 0 is
// no bound, but for Pending: 4,096 for each endpoint.
func NewConcurrency(m model.Connections, endpoints, share int) *Concurrency {
	c := &Concurrency{}
	c.Adopt(m, endpoints, share)
	return c
}

// Adopt changes the bounds; what is in flight stays counted.
func (c *Concurrency) Adopt(m model.Connections, endpoints, share int) {
	pending := cmp.Or(m.Pending, defaultPending*max(1, endpoints))
	for k, n := range [kinds]int{Requests: m.Requests, Pending: pending, Retries: m.Retries, Opened: m.Max} {
		c.most[k] = math.MaxInt
		if n > 0 {
			c.most[k] = (n + max(1, share) - 1) / max(1, share)
		}
	}
}

// Acquire counts one, or reports that there are as many as may be.
func (c *Concurrency) Acquire(k Kind) bool {
	if c.now[k] >= c.most[k] {
		c.refused[k]++
		return false
	}
	c.now[k]++
	return true
}

// Release gives one back.
func (c *Concurrency) Release(k Kind) {
	if c.now[k] > 0 {
		c.now[k]--
	}
}

// Count is how many there are, and may be (math.MaxInt: no bound).
func (c *Concurrency) Count(k Kind) (now, most int) { return c.now[k], c.most[k] }

// Explain is one line about a kind.
func (c *Concurrency) Explain(k Kind) string {
	if c.most[k] == math.MaxInt {
		return fmt.Sprintf("%d %s, without bound", c.now[k], k)
	}
	return fmt.Sprintf("%d of at most %d %s, %d refused so far", c.now[k], c.most[k], k, c.refused[k])
}
