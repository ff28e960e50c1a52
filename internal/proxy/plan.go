package proxy

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// plan is what the policies that concern a request come to: made once for each backend of a rule, or for a
// service without rules. It is immutable and shared by all workers; nil asks for nothing.
type plan struct {
	timeout    time.Duration // 0: none
	tryTimeout time.Duration
	idle       time.Duration
	retry      *retryPlan
	faults     []fault
}

// retryPlan is a compiled model.Retry.
type retryPlan struct {
	*model.Retry
	on    map[model.RetryOn]bool
	codes map[int]bool
}

// fault is a compiled model.Fault.
type fault struct {
	*model.Fault
	matches *route.Table // nil: every request
}

// newPlan compiles a policy; nil when it says nothing.
func newPlan(p *model.Policy) (*plan, error) {
	if p == nil {
		return nil, nil
	}
	out := &plan{timeout: p.Timeout, tryTimeout: p.BackendTimeout, idle: p.IdleTimeout}
	if p.NoTimeout {
		out.timeout = 0
	}
	if p.Retry != nil {
		out.retry = newRetryPlan(p.Retry)
	}
	for i := range p.Faults {
		f := fault{Fault: &p.Faults[i]}
		if len(f.Matches) > 0 {
			var err error
			if f.matches, err = route.Compile([]model.Rule{{Matches: f.Matches}}); err != nil {
				return nil, fmt.Errorf("policy %s/%s: fault %d: %w", p.Ref.Namespace, p.Ref.Name, i, err)
			}
		}
		out.faults = append(out.faults, f)
	}
	if out.timeout == 0 && out.tryTimeout == 0 && out.idle == 0 && out.retry == nil && len(out.faults) == 0 {
		return nil, nil
	}
	return out, nil
}

const (
	defaultBackoff    = 25 * time.Millisecond
	maxBackoffFactor  = 10
	mostRetryAttempts = 10
)

func newRetryPlan(r *model.Retry) *retryPlan {
	kept := *r
	kept.Attempts = min(kept.Attempts, mostRetryAttempts)
	kept.Backoff = cmp.Or(kept.Backoff, defaultBackoff)
	kept.MaxBackoff = max(kept.Backoff, cmp.Or(kept.MaxBackoff, maxBackoffFactor*kept.Backoff))
	out := &retryPlan{Retry: &kept, on: map[model.RetryOn]bool{}, codes: map[int]bool{}}
	for _, on := range r.On {
		out.on[on] = true
	}
	if len(r.On) == 0 && len(r.Codes) == 0 {
		out.on[model.RetryConnect], out.on[model.RetryRefused] = true, true
	}
	if out.on[model.Retry5xx] {
		for _, on := range []model.RetryOn{model.RetryConnect, model.RetryRefused, model.RetryReset, model.RetryTimeout} {
			out.on[on] = true
		}
	}
	if out.on[model.RetryGatewayError] {
		for _, code := range []int{502, 503, 504} {
			out.codes[code] = true
		}
	}
	if out.on[model.Retry4xx] {
		out.codes[409] = true
	}
	for _, code := range r.Codes {
		out.codes[code] = true
	}
	return out
}

// status reports whether an answer with this status is to be tried again.
func (r *retryPlan) status(code int) bool {
	return r.codes[code] || code >= 500 && r.on[model.Retry5xx]
}

// grpc reports whether an answer with this gRPC status is.
func (r *retryPlan) grpc(status string) bool {
	switch status {
	case "1":
		return r.on[model.RetryCancelled]
	case "4":
		return r.on[model.RetryDeadline]
	case "8":
		return r.on[model.RetryExhausted]
	case "13":
		return r.on[model.RetryInternal]
	case "14":
		return r.on[model.RetryUnavailable]
	}
	return false
}

// filters are a rule's, compiled; nil when there are none.
type filters struct {
	*model.Filters
	redirectPath *route.PathChange
	rewritePath  *route.PathChange
	cors         *corsPolicy
	mirrors      []mirror
}

// mirror is a compiled model.Mirror.
type mirror struct {
	*model.Mirror
	service *service // nil: it does not resolve
}

func (c *config) compileFilters(f *model.Filters) (*filters, error) {
	if f.IsZero() {
		return nil, nil
	}
	out := &filters{Filters: f}
	var err error
	if f.Redirect != nil {
		if out.redirectPath, err = route.CompilePathChange(f.Redirect.Path); err != nil {
			return nil, fmt.Errorf("redirect: %w", err)
		}
	}
	if f.Rewrite != nil {
		if out.rewritePath, err = route.CompilePathChange(f.Rewrite.Path); err != nil {
			return nil, fmt.Errorf("rewrite: %w", err)
		}
	}
	if f.CORS != nil {
		if out.cors, err = newCORS(f.CORS); err != nil {
			return nil, fmt.Errorf("cors: %w", err)
		}
	}
	for i := range f.Mirrors {
		m := mirror{Mirror: &f.Mirrors[i]}
		if m.Invalid == "" {
			m.service = c.byName[m.Service]
		}
		out.mirrors = append(out.mirrors, m)
	}
	return out, nil
}

// corsPolicy is a compiled model.CORS.
type corsPolicy struct {
	anyOrigin bool
	exact     map[string]bool
	patterns  []*regexp.Regexp

	methods, headers, expose, maxAge string // as the fields of an answer have them; "*" allows everything
	credentials, forward             bool
}

func newCORS(m *model.CORS) (*corsPolicy, error) {
	out := &corsPolicy{
		exact: map[string]bool{}, credentials: m.Credentials, forward: m.Forward,
		methods: strings.Join(m.Methods, ", "), headers: strings.Join(m.Headers, ", "), expose: strings.Join(m.Expose, ", "),
	}
	if m.MaxAge > 0 {
		out.maxAge = fmt.Sprint(int64(m.MaxAge / time.Second))
	}
	for _, o := range m.Origins {
		var pattern string
		switch {
		case o.Type == model.Regex:
			pattern = o.Value
		case o.Type == model.Prefix:
			pattern = regexp.QuoteMeta(o.Value) + ".*"
		case o.Value == "*":
			out.anyOrigin = true
			continue
		case strings.Contains(o.Value, "*"):
			before, after, _ := strings.Cut(o.Value, "*")
			pattern = regexp.QuoteMeta(before) + "[^/]*" + regexp.QuoteMeta(after)
		default:
			out.exact[strings.ToLower(o.Value)] = true
			continue
		}
		re, err := regexp.Compile(`(?i)\A(?:` + pattern + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("origin %q: %w", o.Value, err)
		}
		out.patterns = append(out.patterns, re)
	}
	return out, nil
}
