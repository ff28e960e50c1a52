package proxy

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/route"
)

// plan is what the policies that concern a request come to: made once for each backend of a rule, or for a
// service without rules. It is immutable and shared by all workers; nil asks for nothing.
type plan struct {
	timeout    time.Duration // 0: none
	tryTimeout time.Duration
	idle       time.Duration
	auth       time.Duration // 0: model.AuthTimeout
	retry      *resilience.RetryPolicy
	remote     bool // retries go to other localities
	hedge      *resilience.HedgePolicy
	session    *model.Session
	diff       *model.MirrorDiff
	faults     []fault
	limits     []*limit
	asks       []*limit // those that services decide on
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
	out := &plan{timeout: p.Timeout, tryTimeout: p.BackendTimeout, idle: p.IdleTimeout, auth: p.AuthTimeout}
	if p.NoTimeout {
		out.timeout = 0
	}
	out.retry, out.session = resilience.NewRetryPolicy(p.Retry), p.Session
	out.remote = p.Retry != nil && p.Retry.Remote
	out.hedge, out.diff = resilience.NewHedgePolicy(p.Hedge), p.MirrorDiff
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
	for i := range p.Limits {
		l, err := newLimit(p, &p.Limits[i])
		if err != nil {
			return nil, fmt.Errorf("policy %s/%s: rate limit %s: %w", p.Ref.Namespace, p.Ref.Name, p.Limits[i].Name, err)
		}
		if l.Service != nil {
			out.asks = append(out.asks, l)
		} else {
			out.limits = append(out.limits, l)
		}
	}
	if out.timeout == 0 && out.tryTimeout == 0 && out.idle == 0 && out.auth == 0 && out.retry == nil && out.session == nil && out.hedge == nil && out.diff == nil && len(out.faults)+len(out.limits)+len(out.asks) == 0 {
		return nil, nil
	}
	return out, nil
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
	pool    *pool
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
		if m.service != nil {
			if m.pool = m.service.pool; len(m.Subset) > 0 {
				if m.pool, err = c.newPool(m.service, m.Subset, m.service.Upstream); err != nil {
					return nil, fmt.Errorf("mirror: %w", err)
				}
			}
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
