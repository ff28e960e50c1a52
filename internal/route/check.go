package route

import (
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// request is what the conditions look at, taken from a head once.
type request struct {
	head    *message.Head
	port    uint16
	ends    *Ends // nil: not known
	path    string
	method  string
	hostLen int
	host    [maxHost]byte // lower case, without port and trailing dot; filled only by needHost
	hasHost bool
}

// scheme is the request's, "http" where the codec could not know.
func (r *request) scheme() string {
	if r.head.Scheme == "" {
		return "http"
	}
	return r.head.Scheme
}

func newRequest(h *message.Head, port uint16) request {
	r := request{head: h, port: port, path: h.PathOnly(), method: h.Method}
	if h.Protocol != "" && r.method == "CONNECT" {
		// A protocol switch is a GET in HTTP/1.1, and users write it so (RFC 8441, section 5).
		r.method = "GET"
	}
	return r
}

// condition is a part of a match that can fail.
type condition uint8

const (
	all condition = iota // nothing failed
	onPort
	onHost
	onPath
	onMethod
	onHeader
	onQuery
	onSource // these are of morePattern
	onMorePort
	onScheme
	onAuthority
	onMoreMethod
	onAddresses
)

// outcome is the first condition that failed and, for headers and query, its index.
type outcome struct {
	failed condition
	index  int
}

func (o outcome) holds() bool { return o.failed == all }

// check decides every condition of the candidate. It is the only place where they are decided.
func (c *candidate) check(r *request) outcome {
	switch {
	case c.port != 0 && c.port != r.port:
		return outcome{failed: onPort}
	case c.host != "" && !c.host.holds(r):
		return outcome{failed: onHost}
	case !c.path.holds(r.path):
		return outcome{failed: onPath}
	case c.method != "" && c.method != r.method:
		return outcome{failed: onMethod}
	}
	for i := range c.headers {
		if !c.headers[i].header(r.head) {
			return outcome{onHeader, i}
		}
	}
	for i := range c.query {
		if !c.query[i].parameter(r.head.Query()) {
			return outcome{onQuery, i}
		}
	}
	if c.more != nil {
		return outcome{failed: c.more.check(r)}
	}
	return outcome{}
}

func (h hostPattern) holds(r *request) bool {
	host := r.hostName()
	if h.wild() {
		return len(host) > len(h) && string(host[len(host)-len(h):]) == string(h)
	}
	return string(host) == string(h)
}

func (p *pathPattern) holds(path string) bool {
	switch p.rank {
	case rankExact:
		return path == p.value || p.fold && equalFold(path, p.value)
	case rankPrefix:
		n := len(p.value)
		if len(path) < n || !p.text && len(path) > n && path[n] != '/' {
			return false
		}
		return path[:n] == p.value || p.fold && equalFold(path[:n], p.value)
	case rankRegex:
		return p.re.MatchString(path)
	}
	return true
}

// equalFold compares without regard to the case of ASCII letters.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' < 26 {
		return c + 'a' - 'A'
	}
	return c
}

// header decides on a header field. Repeated fields are one value joined by commas (RFC 9110, section 5.3).
func (p *valuePattern) header(h *message.Head) bool { return p.hasHeader(h) != p.not }

func (p *valuePattern) hasHeader(h *message.Head) bool {
	at := -1
	for i := range h.Fields {
		if h.Fields[i].Name != p.name {
			continue
		}
		if at >= 0 {
			if p.kind == model.Present {
				return true
			}
			v, _ := headerValue(h, p.name)
			return p.holds(v)
		}
		at = i
	}
	if at >= 0 {
		return p.holds(h.Fields[at].Value)
	}
	v, ok := headerValue(h, p.name)
	return ok && p.holds(v)
}

// headerValue returns the whole value of a field, those that the head keeps elsewhere included.
func headerValue(h *message.Head, name string) (string, bool) {
	switch {
	case name == "host" && h.Authority != "":
		return h.Authority, true
	case name == "content-length" && h.Length != message.Unknown:
		return strconv.FormatInt(h.Length, 10), true
	}
	var values []string
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			values = append(values, h.Fields[i].Value)
		}
	}
	return strings.Join(values, ","), len(values) > 0
}

// hostName returns the request's host, which it folds into the request's own memory at the first call.
// A host that is too long is none.
func (r *request) hostName() []byte {
	if r.hasHost {
		return r.host[:r.hostLen]
	}
	r.hasHost = true
	host := Host(r.head)
	if len(host) > len(r.host) {
		return nil
	}
	for i := range len(host) {
		r.host[i] = lower(host[i])
	}
	r.hostLen = len(host)
	return r.host[:r.hostLen]
}

// Host returns the host of a request's authority, without port and trailing dot, as it was written.
func Host(h *message.Head) string { return strings.TrimSuffix(withoutPort(h.Authority), ".") }

func withoutPort(authority string) string {
	for i := len(authority) - 1; i >= 0; i-- {
		switch c := authority[i]; {
		case c == ':':
			return authority[:i]
		case c < '0' || c > '9':
			return authority // "]" of an IPv6 address, or a name
		}
	}
	return authority
}
