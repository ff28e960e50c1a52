package gateway

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

const (
	maxAttempts    = 10 // of model.Retry
	maxCodes       = 200
	maxSessionName = 128

	// longestTimeout stands for none where a zero would let the timeout of a more general policy hold. The
	// specification wants just that of who cannot say "none" (HTTPRouteTimeouts).
	longestTimeout = 99999 * time.Hour
)

// duration is the schema's pattern of a Duration (GEP-2257).
var duration = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

// duration reads a duration; nil, and one that is wrong, are 0.
func (c *checker) duration(d *v1.Duration, f *document.Field) time.Duration {
	if d == nil {
		return 0
	}
	const remedy = "wants whole numbers with h, m, s or ms: for example 500ms, 10s or 1h30m"
	if !duration.MatchString(string(*d)) {
		c.add(f, fmt.Sprintf("%q is no duration of the Gateway API", clip(string(*d))), remedy)
		return 0
	}
	out, err := time.ParseDuration(string(*d))
	if err != nil {
		c.add(f, fmt.Sprintf("%q is no duration: %v", clip(string(*d)), err), remedy)
	}
	return out
}

// policy reads what protects a rule's requests; nil when nothing is said.
func (c *checker) policy(r *v1.HTTPRouteRule, rule *model.Rule, f *document.Field) *model.Policy {
	if r.Timeouts == nil && r.Retry == nil && r.SessionPersistence == nil {
		return nil
	}
	out := &model.Policy{Ref: model.PolicyRef{
		Kind: rule.Ref.Kind, Namespace: rule.Ref.Namespace, Name: rule.Ref.Name, File: rule.Ref.File, Line: rule.Ref.Line,
	}}
	if r.Timeouts != nil {
		c.timeouts(r.Timeouts, out, f.Key("timeouts"))
	}
	if r.Retry != nil {
		out.Retry = c.retry(r.Retry, f.Key("retry"))
	}
	if r.SessionPersistence != nil {
		out.Session = c.session(r.SessionPersistence, rule, f.Key("sessionPersistence"))
	}
	return out
}

// timeouts reads the timeouts of a request and of each try; "0s" is none.
func (c *checker) timeouts(in *v1.HTTPRouteTimeouts, out *model.Policy, f *document.Field) {
	out.Timeout = c.duration(in.Request, f.Key("request"))
	out.NoTimeout = in.Request != nil && out.Timeout == 0
	out.BackendTimeout = c.duration(in.BackendRequest, f.Key("backendRequest"))
	if out.Timeout > 0 && out.BackendTimeout > out.Timeout {
		c.add(f.Key("backendRequest"), fmt.Sprintf("%s is longer than the timeout %s of the whole request", *in.BackendRequest, *in.Request),
			"write a shorter one, or a longer request")
	}
	if in.BackendRequest != nil && out.BackendTimeout == 0 {
		out.BackendTimeout = longestTimeout
	}
}

// retry reads when a request is tried again: besides the codes, always when a connection fails, as the
// specification wants. Methods that may not be repeated are not (RFC 9110, section 9.2.2).
func (c *checker) retry(in *v1.HTTPRouteRetry, f *document.Field) *model.Retry {
	out := &model.Retry{
		Attempts: deref(in.Attempts, 1), Backoff: c.duration(in.Backoff, f.Key("backoff")),
		On: []model.RetryOn{model.RetryConnect, model.RetryRefused, model.RetryReset, model.RetryTimeout},
	}
	if out.Attempts < 1 || out.Attempts > maxAttempts {
		c.add(f.Key("attempts"), fmt.Sprintf("wants an integer 1 to %d, has %d", maxAttempts, out.Attempts), "")
	}
	codes := f.Key("codes")
	c.atMost(len(in.Codes), maxCodes, "codes", codes)
	for i, code := range in.Codes {
		switch n := int(code); {
		case n < 400 || n > 599:
			c.add(codes.Index(i), fmt.Sprintf("wants a status 400 to 599, has %d", n), "")
		case slices.Contains(out.Codes, n):
			c.add(codes.Index(i), fmt.Sprintf("the status %d is here twice", n), "write it once")
		default:
			out.Codes = append(out.Codes, n)
		}
	}
	return out
}

// session reads how a client is kept with an endpoint (GEP-1619).
func (c *checker) session(in *v1.SessionPersistence, rule *model.Rule, f *document.Field) *model.Session {
	out := &model.Session{Absolute: c.duration(in.AbsoluteTimeout, f.Key("absoluteTimeout"))}
	kind := string(deref(in.Type, v1.CookieBasedSessionPersistence))
	if !c.oneOf(kind, []string{"Cookie", "Header"}, f.Key("type")) {
		return nil
	}
	name := deref(in.SessionName, "")
	if name == "" {
		name = sessionName(&rule.Ref)
	} else {
		c.sessionToken(name, kind, f.Key("sessionName"))
	}
	if in.AbsoluteTimeout != nil && out.Absolute == 0 {
		c.add(f.Key("absoluteTimeout"), "is no time at all", "write how long a session lasts, or remove it")
	}
	if kind == "Header" {
		out.Header = strings.ToLower(name)
		if in.CookieConfig != nil {
			c.add(f.Key("cookieConfig"), "is given, but type is Header", "write type: Cookie or remove it")
		}
		return out
	}
	out.Cookie, out.Path = name, cookiePath(rule.Matches)
	if in.CookieConfig == nil {
		return out
	}
	lifetime := string(deref(in.CookieConfig.LifetimeType, v1.SessionCookieLifetimeType))
	c.oneOf(lifetime, []string{"Session", "Permanent"}, f.Key("cookieConfig").Key("lifetimeType"))
	out.Keep = lifetime == "Permanent"
	if out.Keep && in.AbsoluteTimeout == nil {
		c.add(f.Key("absoluteTimeout"), "is missing, and the cookie's lifetimeType is Permanent", "write how long the cookie lasts")
	}
	return out
}

// sessionToken checks the name of a cookie or header.
func (c *checker) sessionToken(name, kind string, f *document.Field) {
	switch {
	case len(name) > maxSessionName:
		c.add(f, fmt.Sprintf("has %d bytes, at most %d are allowed", len(name), maxSessionName), "")
	case kind == "Header":
		c.changedHeader(name, map[string]bool{}, f)
	default:
		c.headerName(name, f) // a cookie's name is a token too (RFC 6265, section 4.1.1)
	}
}

// sessionName names the session of a rule: no two rules share it, since they choose among other endpoints.
func sessionName(ref *model.RuleRef) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%s/%d", ref.Kind, ref.Namespace, ref.Name, ref.Rule)
	return fmt.Sprintf("weft-session-%08x", h.Sum32())
}

// cookiePath returns the path below which all matches are (GEP-1619), "/" when one of them may be anywhere.
func cookiePath(matches []model.Match) string {
	var common []string
	for i := range matches {
		p := matches[i].Path
		if p.Type != model.Exact && p.Type != model.Prefix {
			return "/"
		}
		elements := strings.Split(strings.Trim(p.Value, "/"), "/")
		if i == 0 {
			common = elements
		}
		n := 0
		for n < min(len(common), len(elements)) && common[n] == elements[n] && !strings.Contains(common[n], ";") {
			n++
		}
		common = common[:n]
	}
	return "/" + strings.Join(common, "/")
}
