package resilience

import (
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// MaxHedges bounds the additional tries of one request that are sent because the first is slow.
const MaxHedges = 3

// HedgePolicy is a compiled model.Hedge ("hedged requests": Dean and Barroso, "The Tail at Scale", CACM 2013; gRFC A6).
// It is immutable; nil hedges nothing.
type HedgePolicy struct {
	delay    time.Duration
	attempts int
}

// NewHedgePolicy returns nil for nil, and for one without delay or attempts.
func NewHedgePolicy(h *model.Hedge) *HedgePolicy {
	if h == nil || h.Attempts <= 0 || h.Delay <= 0 {
		return nil
	}
	return &HedgePolicy{delay: h.Delay, attempts: min(h.Attempts, MaxHedges)}
}

// Next says when, from the request's first try on, the next one is sent, if no answer is here by then. hedges is how
// many were sent already. ok is false when there is none any more; why says so in constant words. What is sent
// counts as a retry in the budget.
func (h *HedgePolicy) Next(hedges int, idempotent, begun bool) (at time.Duration, ok bool, why string) {
	switch {
	case h == nil:
		return 0, false, "no hedge policy"
	case begun:
		return 0, false, "the answer has begun"
	case !idempotent:
		return 0, false, "the method may not be repeated"
	case hedges >= h.attempts:
		return 0, false, "all hedges are sent"
	}
	return time.Duration(hedges+1) * h.delay, true, "no answer in time"
}
