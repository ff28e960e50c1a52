package control

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// rule shows what a rule does to a request besides choosing a backend, and reports whether it answers by itself.
func (e *explanation) rule(r *model.Rule) (answered bool) {
	if outcome := e.answers(&r.Filters, r.Ref); outcome != "" {
		e.out.Outcome = outcome
		return true
	}
	e.changes(&r.Filters, &r.Request, &r.Response, r.Ref)
	return false
}

// backendFilters shows what is done to the share of a backend, and reports whether it is answered without it.
func (e *explanation) backendFilters(b *model.Backend, ref model.RuleRef) (answered bool) {
	f := b.Filters
	if f == nil {
		f = &model.Filters{}
	}
	if outcome := e.answers(f, ref); outcome != "" {
		e.out.Outcome = "for the share of " + b.Service.String() + ": " + outcome
		return true
	}
	e.changes(f, &b.Request, &b.Response, ref)
	return false
}

// answers shows the filters that may answer by themselves; outcome says how one does, "" when none does always.
func (e *explanation) answers(f *model.Filters, ref model.RuleRef) (outcome string) {
	tell := func(what, how string) { e.step("rule", true, what, how, ref) }
	if c := f.CORS; c != nil {
		tell("CORS", "preflights are answered by the proxy; answers to pages of "+origins(c)+" are marked")
	}
	if a := f.Auth; a != nil {
		e.step("auth", a.Invalid == "", a.Service.String(), authText(a, e.patience), ref)
		if a.Invalid != "" {
			return fmt.Sprintf("500 by %s: its authorization service cannot be asked", ref)
		}
	}
	switch {
	case f.Redirect != nil:
		tell("redirect", fmt.Sprintf("answered %d: %s", f.Redirect.Status, redirectText(f.Redirect)))
		return fmt.Sprintf("%d by the redirect of %s", f.Redirect.Status, ref)
	case f.Direct != nil:
		tell("answer", fmt.Sprintf("answered %d with %d bytes", f.Direct.Status, len(f.Direct.Body)))
		return fmt.Sprintf("%d by %s itself", f.Direct.Status, ref)
	}
	return ""
}

// changes shows what is made of a request and its answer.
func (e *explanation) changes(f *model.Filters, request, answer *model.HeaderMod, ref model.RuleRef) {
	e.modifies("request header", request, ref)
	if w := f.Rewrite; w != nil {
		e.step("rule", true, "rewrite", rewriteText(w), ref)
	}
	for _, m := range f.Mirrors {
		how := fmt.Sprintf("a copy of %.4g%% of requests, its answers go to no client", 100*m.Share)
		if m.Invalid != "" {
			how = "nothing is sent: " + m.Invalid
		}
		e.step("mirror", m.Invalid == "", m.Service.String(), how, ref)
	}
	e.modifies("answer header", answer, ref)
}

func (e *explanation) modifies(what string, m *model.HeaderMod, ref model.RuleRef) {
	for _, v := range m.Set {
		e.step("rule", true, what, fmt.Sprintf("%s is set to %q", v.Name, v.Value), ref)
	}
	for _, v := range m.Add {
		e.step("rule", true, what, fmt.Sprintf("%s gets %q added", v.Name, v.Value), ref)
	}
	for _, name := range m.Remove {
		e.step("rule", true, what, name+" is removed", ref)
	}
}

func origins(c *model.CORS) string {
	var all []string
	for _, o := range c.Origins {
		all = append(all, o.Value)
	}
	return strings.Join(all, ", ")
}

func redirectText(r *model.Redirect) string {
	parts := []string{"the same place"}
	add := func(what, v string) {
		if v != "" {
			parts = append(parts, what+" "+v)
		}
	}
	add("but scheme", r.Scheme)
	add("host", r.Host)
	if r.Port != 0 {
		add("port", fmt.Sprint(r.Port))
	}
	if r.Path != nil {
		add("path", changeText(r.Path))
	}
	return strings.Join(parts, ", ")
}

func rewriteText(w *model.Rewrite) string {
	var parts []string
	if w.Host != "" {
		parts = append(parts, "the host becomes "+w.Host)
	}
	if w.Path != nil {
		parts = append(parts, "the path: "+changeText(w.Path))
	}
	return strings.Join(parts, "; ")
}

func changeText(c *model.PathChange) string {
	switch c.Type {
	case model.ChangePrefix:
		return fmt.Sprintf("its matched prefix becomes %q", c.Value)
	case model.ChangeRegex:
		return fmt.Sprintf("what matches %q becomes %q", c.Regex, c.Value)
	case model.ChangeText:
		return fmt.Sprintf("%q at its beginning becomes %q", c.Text, c.Value)
	}
	return fmt.Sprintf("all of it becomes %q", c.Value)
}

// policy shows how a request is protected.
func (e *explanation) policy(p *model.Policy) {
	if p == nil {
		return
	}
	ref := policyRef(p.Ref)
	tell := func(what, how string) { e.step("policy", true, what, how, ref) }
	for _, l := range p.Limits {
		if l.Service != nil {
			tell("rate limit "+l.Name, askedText(&l))
			continue
		}
		scope := "at each proxy"
		if l.Global {
			scope = fmt.Sprintf("at all proxies together, in any time at most %.0f more than that rate gives", resilience.Excess(&l))
		}
		tell("rate limit "+l.Name, fmt.Sprintf("%d requests in %s %s", l.Requests, l.Per, scope))
	}
	for i := range p.Faults {
		tell("fault", faultText(&p.Faults[i]))
	}
	durations := []struct {
		what string
		d    time.Duration
	}{{"timeout", p.Timeout}, {"timeout of a try", p.BackendTimeout}, {"timeout of silence", p.IdleTimeout}}
	for _, d := range durations {
		if d.d > 0 {
			tell(d.what, d.d.String())
		}
	}
	if r := p.Retry; r != nil {
		tell("retries", retryText(r))
	}
	if h := p.Hedge; h != nil {
		tell("hedging", fmt.Sprintf("another try every %s without an answer, %d at most", h.Delay, h.Attempts))
	}
	if d := p.MirrorDiff; d != nil {
		tell("mirrors", mirrorDiffText(d))
	}
	if s := p.Session; s != nil {
		tell("session", "the endpoint named by the client's "+firstOf(s.Cookie, s.Header)+" is kept while it is healthy")
	}
}

// authText shows who decides on requests; patience is what policies say of its time, 0 if nothing.
func authText(a *model.ExternalAuth, patience time.Duration) string {
	if a.Invalid != "" {
		return "requests are answered 500: nobody can be asked: " + a.Invalid
	}
	by := "HTTP"
	if a.GRPC {
		by = "gRPC (ext_authz)"
	}
	s := fmt.Sprintf("is asked first by %s, port %d, and has %s; without its answer requests are answered 503", by, a.Port, cmp.Or(patience, model.AuthTimeout))
	if a.MaxBody > 0 {
		s += fmt.Sprintf("; content over %d bytes is answered 413", a.MaxBody)
	}
	return s
}

// askedText shows a limit that a service decides on.
func askedText(l *model.RateLimit) string {
	s := l.Service
	then := "pass"
	if s.FailClosed {
		then = "are answered 503"
	}
	if s.Invalid != "" {
		return fmt.Sprintf("requests %s: nobody can be asked: %s", then, s.Invalid)
	}
	return fmt.Sprintf("%s is asked first (port %d, domain %s) and has %s; without its answer requests %s", s.Service, s.Port, s.Domain, s.Patience(), then)
}

func mirrorDiffText(d *model.MirrorDiff) string {
	s := "their answers are compared by status"
	if len(d.Headers) > 0 {
		s += ", " + strings.Join(d.Headers, ", ")
	}
	if d.MaxBody > 0 {
		s += fmt.Sprintf(" and content (%d bytes of it)", d.MaxBody)
	}
	return s
}

func retryText(r *model.Retry) string {
	var on []string
	for _, c := range r.On {
		on = append(on, string(c))
	}
	for _, c := range r.Codes {
		on = append(on, fmt.Sprint(c))
	}
	if len(on) == 0 {
		on = []string{string(model.RetryConnect), string(model.RetryRefused)}
	}
	return fmt.Sprintf("%d at most, on %s", r.Attempts, strings.Join(on, ", "))
}

func faultText(f *model.Fault) string {
	var parts []string
	if f.Delay > 0 {
		parts = append(parts, fmt.Sprintf("%.4g%% of requests wait %s", 100*f.DelayShare, f.Delay))
	}
	if f.GRPC != "" {
		parts = append(parts, fmt.Sprintf("%.4g%% are answered gRPC status %s", 100*f.AbortShare, f.GRPC))
	} else if f.Reset != 0 {
		parts = append(parts, fmt.Sprintf("%.4g%% are cut by the error %d of HTTP/2", 100*f.AbortShare, f.Reset))
	} else if f.Status != 0 {
		parts = append(parts, fmt.Sprintf("%.4g%% are answered %d", 100*f.AbortShare, f.Status))
	}
	if len(f.Matches) > 0 {
		parts = append(parts, "of those that match")
	}
	return strings.Join(parts, ", ")
}

// upstream shows how a service's endpoints are reached.
func (e *explanation) upstream(s *model.Service, up *model.Upstream) {
	if up == nil {
		return
	}
	ref := policyRef(up.Ref)
	tell := func(what, how string) { e.step("endpoints", true, what, how, ref) }
	if b := up.Budget; b != nil {
		tell("retry budget", fmt.Sprintf("retries of %s are %.4g%% of its requests at most, and %.4g a second always", s.Name, 100*b.Ratio, b.MinPerSecond))
	}
	if x := up.Ejection; x != nil {
		tell("ejection", "endpoints that fail are left out for a while")
	}
	if r := up.RetryAfter; r != nil {
		tell("retry-after", fmt.Sprintf("endpoints that answer 429 or 503 are left out as long as they ask, %s at most", cmp.Or(r.Max, resilience.DefaultRetryAfter)))
	}
	if t := up.Tunnel; t != nil {
		how := "CONNECT"
		if t.Post {
			how = "POST"
		}
		tell("tunnel", fmt.Sprintf("endpoints outside the mesh are forward proxies, which carry connections of bytes to %s port %d (%s)", t.Host, t.Port, how))
	}
	if h := up.Health; h != nil {
		tell("health checks", string(h.Type))
	}
	c := up.Connections
	for _, b := range []struct {
		what string
		n    int
	}{{"connections", c.Max}, {"requests in flight", c.Requests}, {"requests that wait", c.Pending}, {"retries in flight", c.Retries}} {
		if b.n > 0 {
			tell("limit", fmt.Sprintf("%d %s at each proxy", b.n, b.what))
		}
	}
}

// chosenBy says how one of the endpoints is picked.
func chosenBy(up *model.Upstream) string {
	if up == nil {
		return "the less loaded of two at random"
	}
	switch up.Balance.Algorithm {
	case model.RoundRobin:
		return "in turn"
	case model.Random:
		return "at random"
	case model.PeakEWMA:
		return "the faster of two at random, by latency and load"
	case model.RingHash, model.Maglev:
		return "by the hash of what names the client (" + string(up.Balance.Algorithm) + ")"
	}
	return "the less loaded of two at random"
}

func policyRef(r model.PolicyRef) model.RuleRef {
	return model.RuleRef{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, File: r.File, Line: r.Line}
}

func firstOf(a, b string) string {
	if a != "" {
		return "cookie " + a
	}
	return "field " + b
}
