package proxy

import (
	"strings"

	"github.com/weft-mesh/weft/internal/message"
)

// takes reports whether answers may be given to pages of an origin (Fetch standard, section 3.2; Gateway API,
// HTTPCORSFilter).
func (c *corsPolicy) takes(origin string) bool {
	if c.anyOrigin || c.exact[origin] || c.exact[strings.ToLower(origin)] {
		return true
	}
	for _, re := range c.patterns {
		if re.MatchString(origin) {
			return true
		}
	}
	return false
}

// preflight answers the question of a browser whether it may send a request, and reports whether it was one.
func (x *exchange) preflight(c *corsPolicy) bool {
	if x.req.Method != "OPTIONS" || x.corsOrigin == "" || x.req.Get("access-control-request-method") == "" {
		return false
	}
	allowed := c.takes(x.corsOrigin)
	if !allowed && c.forward {
		return false
	}
	h := x.fresh(204)
	if allowed {
		c.allow(h, x.corsOrigin)
		list := func(name, all, asked string) {
			// "*" is no wildcard where credentials go along.
			if all == "*" && c.credentials {
				all = x.req.Get(asked)
			}
			if all != "" {
				h.Add(name, all)
			}
		}
		list("access-control-allow-methods", c.methods, "access-control-request-method")
		list("access-control-allow-headers", c.headers, "access-control-request-headers")
		if c.maxAge != "" {
			h.Add("access-control-max-age", c.maxAge)
		}
		if c.expose != "" { // of no use to browsers here, and what the Gateway API's conformance tests want
			h.Set("access-control-expose-headers", c.expose)
		}
	}
	x.made = true
	return true
}

// allow marks an answer as one for pages of the origin.
func (c *corsPolicy) allow(h *message.Head, origin string) {
	if c.anyOrigin && !c.credentials {
		h.Set("access-control-allow-origin", "*")
	} else {
		h.Set("access-control-allow-origin", origin)
		h.Add("vary", "origin")
	}
	if c.credentials {
		h.Set("access-control-allow-credentials", "true")
	}
}

// share marks the answer of a backend.
func (c *corsPolicy) share(h *message.Head, origin string) {
	if !c.takes(origin) {
		return
	}
	c.allow(h, origin)
	if c.expose != "" {
		h.Set("access-control-expose-headers", c.expose)
	}
}
