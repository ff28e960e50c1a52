package resilience

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// MaxRetries bounds the retries of one request, whatever a policy asks for.
const MaxRetries = 10

// RetryPolicy is a compiled model.Retry. It is immutable; nil retries nothing.
type RetryPolicy struct {
	retry    model.Retry
	on       condition
	any5xx   bool
	codes    [600]bool
	limited  bool // what a rate limit refused
	attempts int
}

// condition is a set of Failures and gRPC statuses.
type condition struct {
	failures [Timeout + 1]bool
	grpc     [17]bool
}

// NewRetryPolicy compiles it; nil when r is nil. Conditions that are not known ask for nothing: validation is
// the compiler's; so do those of HTTP/3, which is not spoken to endpoints. 5xx contains gateway-error and the four failures, as model says.
func NewRetryPolicy(r *model.Retry) *RetryPolicy {
	if r == nil {
		return nil
	}
	p := &RetryPolicy{retry: *r, attempts: min(max(r.Attempts, 0), MaxRetries)}
	on := r.On
	if len(on) == 0 && len(r.Codes) == 0 {
		on = []model.RetryOn{model.RetryConnect, model.RetryRefused}
	}
	for _, c := range on {
		p.add(c)
	}
	for _, code := range r.Codes {
		if code >= 0 && code < len(p.codes) {
			p.codes[code] = true
		}
	}
	return p
}

func (p *RetryPolicy) add(c model.RetryOn) {
	f, g := &p.on.failures, &p.on.grpc
	switch c {
	case model.RetryConnect:
		f[Connect] = true
	case model.RetryRefused:
		f[Refused] = true
	case model.RetryReset:
		f[Reset] = true
	case model.RetryTimeout:
		f[Timeout] = true
	case model.RetryGatewayError:
		p.codes[502], p.codes[503], p.codes[504] = true, true, true
	case model.Retry5xx:
		f[Connect], f[Refused], f[Reset], f[Timeout] = true, true, true, true
		p.any5xx = true
	case model.Retry4xx:
		p.codes[409] = true
	case model.RetryRateLimited:
		p.limited = true
	case model.RetryCancelled:
		g[1] = true
	case model.RetryDeadline:
		g[4] = true
	case model.RetryExhausted:
		g[8] = true
	case model.RetryInternal:
		g[13] = true
	case model.RetryUnavailable:
		g[14] = true
	}
}

// Try is a request whose try has ended.
type Try struct {
	Outcome
	Retries    int  // made already
	Idempotent bool // its method may be repeated (RFC 9110, section 9.2.2); see Idempotent
	Begun      bool // some of an answer went to the client
	Spent      bool // its content is not here any more
	Limited    bool // the answer says that a rate limit refused it (x-envoy-ratelimited)
}

// Decide says whether a request is tried again, and why or why not, in constant words. A try that the server never
// began (Connect, Refused) may be repeated whatever its method. So may a gRPC call whose status is asked for: all
// of them are POST, and who names the status knows the methods (gRFC A6). The budget is asked for after it.
func (p *RetryPolicy) Decide(t Try) (retry bool, why string) {
	switch {
	case p == nil || p.attempts == 0:
		return false, "no retry policy"
	case t.Begun:
		return false, "the answer has begun"
	case t.Spent:
		return false, "the request's content is too large to be kept for another try"
	}
	why, asked, safe := p.asked(&t)
	switch {
	case !asked:
		return false, why
	case t.Retries >= p.attempts:
		return false, "no retries left"
	case !safe && !t.Idempotent && !p.retry.AnyMethod:
		return false, "the method may not be repeated, and anyMethod is not set"
	}
	return true, why
}

// asked finds the condition that the outcome meets. safe: the request was not processed, or that is said to be no
// matter.
func (p *RetryPolicy) asked(t *Try) (why string, asked, safe bool) {
	if t.Failure != Answered {
		if t.Failure <= Timeout && p.on.failures[t.Failure] {
			return t.Failure.String(), true, t.Failure == Connect || t.Failure == Refused
		}
		return "the policy does not retry this failure", false, false
	}
	switch {
	case t.GRPC != "" && t.GRPC != "0" && p.grpc(t.GRPC):
		return "gRPC status", true, true
	case t.Limited && p.limited:
		return "envoy-ratelimited", true, true
	case t.Status >= 0 && t.Status < len(p.codes) && p.codes[t.Status]:
		return "status", true, false
	case p.any5xx && t.Status >= 500 && t.Status <= 599:
		return "5xx", true, false
	}
	return "the policy does not retry this answer", false, false
}

func (p *RetryPolicy) grpc(status string) bool {
	n := 0
	for i := range len(status) {
		d := status[i] - '0'
		if d > 9 || i > 1 {
			return false
		}
		n = 10*n + int(d)
	}
	return n < len(p.on.grpc) && p.on.grpc[n]
}

// Backoff is how long to wait before retry n, the first being 0.
func (p *RetryPolicy) Backoff(n int, random uint64) time.Duration {
	return Backoff(n, &p.retry, random)
}

// Attempts is how often a request is tried again; 0 for nil.
func (p *RetryPolicy) Attempts() int {
	if p == nil {
		return 0
	}
	return p.attempts
}

// Elsewhere reports whether endpoints that were not tried are preferred.
func (p *RetryPolicy) Elsewhere() bool { return p != nil && p.retry.Elsewhere }

// Answers reports whether some answer can lead to a retry: if not, none has to be looked at.
func (p *RetryPolicy) Answers() bool {
	return p != nil && (p.any5xx || p.limited || slices.Contains(p.codes[:], true) || slices.Contains(p.on.grpc[:], true))
}

// Idempotent reports whether a method may be repeated (RFC 9110, section 9.2.2). CONNECT and unknown methods may
// not.
func Idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
