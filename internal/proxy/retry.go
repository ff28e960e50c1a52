package proxy

import (
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// maxAttempts bounds how many endpoints one request is tried on when no policy says so: only as long as it was
// certainly not processed.
const maxAttempts = 3

// again decides whether another try follows one that ended with f, or with an answer when f is nil.
func (x *exchange) again(f *Failure, attempt int) bool {
	var r *retryPlan
	if x.plan != nil {
		r = x.plan.retry
	}
	if f == nil && r == nil {
		return false // the usual case
	}
	if x.gone || x.late || !x.canRetry || x.opaque && f == nil {
		return false
	}
	most := maxAttempts
	if r != nil {
		most = r.Attempts + 1
	}
	if f != nil && f.Stage == "stale" {
		// The connection had ended unnoticed: no fault of the endpoint, and no retry in the sense of a policy.
		return attempt <= most && idempotent(x.req.Method)
	}
	if attempt >= most {
		return false
	}
	if f == nil {
		return x.againAfter(r, x.final)
	}
	return x.retriable(r, f)
}

// againAfter decides by an answer.
func (x *exchange) againAfter(r *retryPlan, h *message.Head) bool {
	if isGRPC(x.req) {
		// Only an answer without messages has its status in the head.
		if !r.grpc(h.Get("grpc-status")) && !r.status(h.Status) {
			return false
		}
	} else if !r.status(h.Status) || !r.AnyMethod && !idempotent(x.req.Method) {
		return false
	}
	if x.fixed == nil {
		x.tried = append(x.tried, x.ep)
	}
	return true
}

// retriable decides by a failure. What was certainly not processed may be tried again whatever the method.
func (x *exchange) retriable(r *retryPlan, f *Failure) bool {
	if x.fixed != nil && f.Flag != flagReset {
		return false // there is nobody else
	}
	if r == nil {
		return f.Flag == flagConnect || f.Flag == flagRefused
	}
	mayRepeat := r.AnyMethod || idempotent(x.req.Method) || isGRPC(x.req)
	switch f.Flag {
	case flagConnect:
		return r.on[model.RetryConnect] || r.on[model.RetryUnavailable] && isGRPC(x.req)
	case flagRefused:
		return r.on[model.RetryRefused] || r.on[model.RetryUnavailable] && isGRPC(x.req)
	case flagReset:
		return mayRepeat && (r.on[model.RetryReset] || r.on[model.RetryUnavailable] && isGRPC(x.req))
	case flagTimeout:
		return mayRepeat && (r.on[model.RetryTimeout] || r.on[model.RetryDeadline] && isGRPC(x.req))
	}
	return false
}

// backOff waits before a retry that a policy asked for, by chance up to a bound that doubles ("full jitter"), and
// reports whether it is still wanted.
func (x *exchange) backOff(attempt int) bool {
	if x.plan == nil || x.plan.retry == nil {
		return true
	}
	r := x.plan.retry
	most := min(r.Backoff<<min(attempt-1, 20), r.MaxBackoff)
	if wait := time.Duration(float64(most) * float64(x.w.random.Uint64()>>11) / (1 << 53)); wait > 0 {
		x.sleep(wait)
	}
	return !x.gone && !x.late
}

// pick chooses an endpoint; one that was tried is better than none where a policy asks for more tries than
// there are endpoints.
func (x *exchange) pick() *endpoint {
	ep := x.w.pick(x.set, x.tport, x.tried)
	if ep == nil && len(x.tried) > 0 && x.plan != nil && x.plan.retry != nil {
		x.tried = x.tried[:0]
		ep = x.w.pick(x.set, x.tport, nil)
	}
	return ep
}

// grpcPrefix begins the media types of gRPC.
const grpcPrefix = "application/grpc"

func isGRPC(h *message.Head) bool { return strings.HasPrefix(h.Get("content-type"), grpcPrefix) }
