package proxy

import (
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// QuotaAsk is what to tell the control plane about a rate limit that is counted for all proxies.
type QuotaAsk struct {
	Limit model.LimitID
	resilience.Ask
}

// Leasing reports whether there are rate limits that are counted for all proxies.
func (e *Engine) Leasing() bool {
	e.limiters.mu.Lock()
	defer e.limiters.mu.Unlock()
	for _, c := range e.limiters.byID {
		if _, ok := c.(*resilience.Leases); ok {
			return true
		}
	}
	return false
}

// DueQuota appends what is to be asked now to dst. Until the answers are here, or will not come, it must not be called
// again: an answer would be taken for that to a later question.
func (e *Engine) DueQuota(now time.Time, dst []QuotaAsk) []QuotaAsk {
	e.limiters.mu.Lock()
	defer e.limiters.mu.Unlock()
	for id, c := range e.limiters.byID {
		leases, ok := c.(*resilience.Leases)
		if !ok {
			continue
		}
		e.limiters.asks = leases.Due(now, e.limiters.asks[:0])
		for _, a := range e.limiters.asks {
			dst = append(dst, QuotaAsk{id, a})
		}
	}
	return dst
}

// GrantQuota takes the answer to an ask. One for a limit that is gone is dropped.
func (e *Engine) GrantQuota(a *QuotaAsk, q resilience.Quota) {
	e.limiters.mu.Lock()
	defer e.limiters.mu.Unlock()
	if leases, ok := e.limiters.byID[a.Limit].(*resilience.Leases); ok {
		leases.Grant(a.Key, q)
	}
}
