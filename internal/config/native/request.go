package native

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// policy reads what a policy says of requests; nil when that is nothing.
func (c *checker) policy(s *spec, f *document.Field) *model.Policy {
	out := &model.Policy{}
	if s.Timeouts != nil {
		c.timeouts(s.Timeouts, out, f.Key("timeouts"))
	}
	if s.Retries != nil {
		out.Retry = c.retry(s.Retries, f.Key("retries"))
	}
	if s.Hedging != nil {
		out.Hedge = c.hedge(s.Hedging, out, f.Key("hedging"))
	}
	out.Faults = c.faults(s.Faults, f.Key("faults"))
	out.Limits = c.rateLimits(s.RateLimits, f.Key("rateLimits"))
	if s.SessionPersistence != nil {
		out.Session = c.session(s.SessionPersistence, f.Key("sessionPersistence"))
	}
	if s.MirrorDiff != nil {
		out.MirrorDiff = c.mirrorDiff(s.MirrorDiff, f.Key("mirrorDiff"))
	}
	if out.Timeout == 0 && !out.NoTimeout && out.BackendTimeout == 0 && out.IdleTimeout == 0 && out.AuthTimeout == 0 && out.Retry == nil &&
		out.Hedge == nil && len(out.Faults)+len(out.Limits) == 0 && out.Session == nil && out.MirrorDiff == nil {
		return nil
	}
	return out
}

// maxAuthTimeout bounds how long a request waits for the word of an authorization service.
const maxAuthTimeout = time.Minute

// timeouts reads all but connect, which is of the endpoints.
func (c *checker) timeouts(t *timeouts, out *model.Policy, f *document.Field) {
	out.Timeout = c.duration(t.Request, 0, maxDuration, f.Key("request"))
	out.NoTimeout = out.Timeout == 0 && t.Request.v != nil
	out.BackendTimeout = c.duration(t.PerTry, time.Millisecond, maxDuration, f.Key("perTry"))
	out.IdleTimeout = c.duration(t.Idle, time.Millisecond, maxDuration, f.Key("idle"))
	out.AuthTimeout = c.duration(t.Auth, time.Millisecond, maxAuthTimeout, f.Key("auth"))
	switch {
	case out.Timeout > 0 && out.Timeout < time.Millisecond:
		c.add(f.Key("request"), fmt.Sprintf("wants a duration 1ms to 24h, has %q", out.Timeout), `write "0s" for none`)
	case out.Timeout > 0 && out.BackendTimeout > out.Timeout:
		c.add(f.Key("perTry"), fmt.Sprintf("is %s, longer than request, which is %s and holds for all tries together", short(out.BackendTimeout), short(out.Timeout)),
			"write at most as much as request")
	}
}

// retryConditions are the values of retries.on.
func retryConditions() []string {
	return []string{
		string(model.RetryConnect), string(model.RetryRefused), string(model.RetryReset), string(model.RetryGatewayError),
		string(model.Retry5xx), string(model.Retry4xx), string(model.RetryTimeout), string(model.RetryCancelled),
		string(model.RetryDeadline), string(model.RetryInternal), string(model.RetryExhausted), string(model.RetryUnavailable),
	}
}

// Defaults of retries.
const (
	defaultAttempts  = 2
	defaultBackoff   = 25 * time.Millisecond
	maxBackoffFactor = 10
)

// retry returns nil when there is nothing but a budget, which is of the endpoints.
func (c *checker) retry(r *retries, f *document.Field) *model.Retry {
	if r.Attempts == nil && r.On == nil && r.StatusCodes == nil && r.Backoff == nil && !c.doc.Has(f.Key("anyMethod")) && !c.doc.Has(f.Key("remoteLocalities")) {
		return nil
	}
	out := &model.Retry{
		Attempts:  c.integer(r.Attempts, 0, 10, defaultAttempts, f.Key("attempts")),
		AnyMethod: r.AnyMethod,
		Elsewhere: true,
		Remote:    r.Remote,
	}
	on := f.Key("on")
	seen := map[string]bool{}
	for i, s := range r.On {
		at := on.Index(i)
		switch known := retryConditions(); {
		case s == string(model.RetryRateLimited) || s == string(model.RetryHTTP3):
			c.add(at, fmt.Sprintf("%q is not supported here", s), "known are "+strings.Join(known, ", "))
		case seen[s]:
			c.add(at, fmt.Sprintf("%q is here twice", clip(s)), "write it once")
		case c.known(s, known, at):
			out.On = append(out.On, model.RetryOn(s))
		}
		seen[s] = true
	}
	codes := f.Key("statusCodes")
	c.atMost(len(r.StatusCodes), maxItems, "statuses", codes)
	for i, n := range r.StatusCodes {
		out.Codes = append(out.Codes, c.integer(&n, 400, 599, 503, codes.Index(i)))
	}
	if b := r.Backoff; b != nil {
		c.backoff(b, out, f.Key("backoff"))
	}
	return out
}

// known is enum for a value that must be there.
func (c *checker) known(s string, known []string, f *document.Field) bool {
	for _, k := range known {
		if s == k {
			return true
		}
	}
	remedy := document.DidYouMean(s, known)
	if remedy == "" {
		remedy = "known are " + strings.Join(known, ", ")
	}
	c.add(f, fmt.Sprintf("unknown value %q", clip(s)), remedy)
	return false
}

func (c *checker) backoff(b *backoff, out *model.Retry, f *document.Field) {
	out.Backoff = c.duration(b.Base, time.Millisecond, maxDuration, f.Key("base"))
	out.MaxBackoff = c.duration(b.Max, time.Millisecond, maxDuration, f.Key("max"))
	base := out.Backoff
	if base == 0 {
		base = defaultBackoff
	}
	if out.MaxBackoff > 0 && out.MaxBackoff < base {
		c.add(f.Key("max"), fmt.Sprintf("is %s, shorter than base, which is %s", short(out.MaxBackoff), short(base)), "write at least as much as base")
	}
}

// hedge needs the timeouts of out.
func (c *checker) hedge(h *hedging, out *model.Policy, f *document.Field) *model.Hedge {
	at := f.Key("delay")
	hedge := &model.Hedge{
		Delay:    c.duration(h.Delay, time.Millisecond, time.Hour, at),
		Attempts: c.integer(h.Attempts, 1, 3, 1, f.Key("attempts")),
	}
	end, what := out.Timeout, "timeouts.request"
	if out.BackendTimeout > 0 {
		end, what = out.BackendTimeout, "timeouts.perTry"
	}
	switch {
	case h.Delay.v == nil:
		c.add(at, "is missing", `write how long the first try has before a second is sent, for example "100ms"`)
	case end > 0 && hedge.Delay >= end:
		c.add(at, fmt.Sprintf("is %s, not shorter than %s, which is %s: no second try would be sent", short(hedge.Delay), what, short(end)), "write a shorter delay, or a longer "+what)
	}
	return hedge
}

// session reads with whom a client stays.
func (c *checker) session(s *sessionPersistence, f *document.Field) *model.Session {
	c.one(f, "cookie", "header")
	out := &model.Session{
		Absolute: c.duration(s.AbsoluteTimeout, time.Second, 365*maxDuration, f.Key("absoluteTimeout")),
		Idle:     c.duration(s.IdleTimeout, time.Second, 365*maxDuration, f.Key("idleTimeout")),
	}
	if out.Absolute > 0 && out.Idle > out.Absolute {
		c.add(f.Key("idleTimeout"), fmt.Sprintf("is %s, longer than absoluteTimeout, which is %s", short(out.Idle), short(out.Absolute)), "write at most as much as absoluteTimeout")
	}
	if h := s.Header; h != nil && c.token(*h, "header", f.Key("header")) {
		out.Header = strings.ToLower(*h)
	}
	k := s.Cookie
	if k == nil {
		if c.doc.Has(f.Key("cookie")) {
			c.token("", "cookie", f.Key("cookie").Key("name"))
		}
		return out
	}
	at := f.Key("cookie")
	c.token(k.Name, "cookie", at.Key("name"))
	c.cookiePath(k.Path, at.Key("path"))
	out.Cookie, out.Path = k.Name, k.Path
	out.Keep = c.enum(k.Lifetime, []string{"Session", "Permanent"}, at.Key("lifetime")) == "Permanent"
	if out.Keep && s.AbsoluteTimeout.v == nil {
		c.add(at.Key("lifetime"), "is Permanent, and there is no absoluteTimeout", "write sessionPersistence.absoluteTimeout, how long the cookie is kept")
	}
	return out
}
