package native

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

func (c *checker) faults(in []fault, f *document.Field) []model.Fault {
	c.atMost(len(in), maxFaults, "faults", f)
	var out []model.Fault
	for i := range in {
		at := f.Index(i)
		x := model.Fault{Matches: c.matches(in[i].Matches, at.Key("matches"))}
		if in[i].Delay == nil && in[i].Abort == nil {
			c.add(at, "has neither delay nor abort", "write one of them or both")
		}
		if d := in[i].Delay; d != nil {
			c.faultDelay(d, &x, at.Key("delay"))
		}
		if a := in[i].Abort; a != nil {
			c.faultAbort(a, &x, at.Key("abort"))
		}
		out = append(out, x)
	}
	return out
}

func (c *checker) faultDelay(d *faultDelay, out *model.Fault, f *document.Field) {
	at := f.Key("duration")
	if d.Duration.v == nil {
		c.add(at, "is missing", `write for how long, for example "2s"`)
	}
	out.Delay = c.duration(d.Duration, time.Millisecond, time.Hour, at)
	out.DelayShare = c.share(d.Percent, 0, 100, 1, f.Key("percent"))
}

func (c *checker) faultAbort(a *faultAbort, out *model.Fault, f *document.Field) {
	c.one(f, "status", "grpcStatus", "http2Error")
	if name := a.HTTP2Error; name != nil {
		if out.Reset = document.HTTP2Error(*name); out.Reset == 0 {
			c.add(f.Key("http2Error"), fmt.Sprintf("unknown error %q", clip(*name)), "known are "+strings.Join(document.HTTP2Errors(), ", "))
		}
	}
	out.Status = c.integer(a.Status, 200, 599, 0, f.Key("status"))
	out.GRPC = c.grpcStatus(a.GRPCStatus, f.Key("grpcStatus"))
	out.AbortShare = c.share(a.Percent, 0, 100, 1, f.Key("percent"))
}

// grpcNames are the statuses of gRPC by number (grpc/doc/statuscodes.md).
func grpcNames() []string {
	return []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

// grpcStatus returns the number of a status that is written by name or number; "" when there is none.
func (c *checker) grpcStatus(s code, f *document.Field) string {
	names := grpcNames()
	switch v := s.v.(type) {
	case nil:
		return ""
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil && n >= 1 && n < len(names) {
			return strconv.Itoa(n)
		}
	case string:
		if n := slices.Index(names, v); n > 0 {
			return strconv.Itoa(n)
		}
		if v != "OK" {
			remedy := `write it as gRPC does, for example "UNAVAILABLE", or its number`
			if near := document.Nearest(v, names[1:]); near != "" {
				remedy = `did you mean "` + near + `"?`
			}
			c.add(f, "unknown gRPC status "+s.words(), remedy)
			return ""
		}
	}
	c.add(f, "wants a gRPC status 1 to 16 that is not OK, has "+s.words(), `for example "UNAVAILABLE" or 14`)
	return ""
}

// Bounds of rate limits.
const (
	maxRequests = 1_000_000_000
	minPer      = time.Second
)

func (c *checker) rateLimits(in []rateLimit, f *document.Field) []model.RateLimit {
	c.atMost(len(in), maxRateLimits, "rate limits", f)
	seen := map[string]bool{}
	var out []model.RateLimit
	for i := range in {
		at, r := f.Index(i), &in[i]
		switch why := document.CheckLabel(r.Name); {
		case r.Name == "":
			c.add(at.Key("name"), "is missing", "name the limit: metrics and answers show the name")
		case why != "":
			c.add(at.Key("name"), fmt.Sprintf("%q is no valid name of a limit", clip(r.Name)), why)
		case seen[r.Name]:
			c.add(at.Key("name"), fmt.Sprintf("the name %q is here twice", r.Name), "names of limits are unique within a policy")
		}
		seen[r.Name] = true
		out = append(out, c.rateLimit(r, at))
	}
	return out
}

func (c *checker) rateLimit(r *rateLimit, f *document.Field) model.RateLimit {
	scope := c.enum(r.Scope, []string{scopeLocal, scopeGlobal, scopeService}, f.Key("scope"))
	if scope == scopeService {
		return c.askedLimit(r, f)
	}
	if c.doc.Has(f.Key("service")) {
		c.addKey(f.Key("service"), "is of a limit that a service decides on, and the scope is "+scope, "write scope: service, or remove it")
	}
	if r.Requests == nil {
		c.add(f.Key("requests"), "is missing", "write how many requests may pass")
	}
	out := model.RateLimit{
		Name:     r.Name,
		Matches:  c.matches(r.Matches, f.Key("matches")),
		Requests: uint32(c.integer(r.Requests, 1, maxRequests, 1, f.Key("requests"))),
		Per:      c.duration(r.Per, minPer, maxDuration, f.Key("per")),
		Burst:    uint32(c.integer(r.Burst, 1, maxRequests, 0, f.Key("burst"))),
		Status:   c.integer(r.Status, 400, 599, 0, f.Key("status")),
	}
	if scope == scopeGlobal {
		out.Global = true
		c.global = append(c.global, c.position(f.Key("scope")))
	}
	if r.Per.v == nil {
		out.Per = time.Second
	}
	if k := r.Key; k != nil {
		at := f.Key("key")
		c.one(at, "identity", "header", "source")
		c.flag(k.Identity, at.Key("identity"))
		c.flag(k.Source, at.Key("source"))
		out.Key = model.LimitKey{Identity: k.Identity, Source: k.Source}
		if k.Header != nil && c.token(*k.Header, "header", at.Key("header")) {
			out.Key.Header = strings.ToLower(*k.Header)
		}
	}
	return out
}
