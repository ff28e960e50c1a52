package proxy

import (
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/balance"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// affinity returns the hash of what names the client, for tables by hash: the first of the policy's keys that the
// request has.
func (x *exchange) affinity() (hash uint64, hashed bool) {
	up := x.set.pool.upstream
	if x.set.chooser == nil || up == nil || len(up.Balance.Hash) == 0 {
		return 0, false
	}
	for i := range up.Balance.Hash {
		k := &up.Balance.Hash[i]
		value := ""
		switch {
		case k.Source:
			value = x.clientName()
		case x.opaque:
			continue
		case k.Header != "":
			if value = x.req.Get(k.Header); k.Header == "host" {
				value = x.req.Authority
			}
		case k.Cookie != "":
			if value = cookie(x.req, k.Cookie); value == "" && k.TTL > 0 {
				value = x.newCookie(k)
			}
		case k.Query != "":
			value = queryValue(x.req.Query(), k.Query)
		}
		if value != "" {
			return balance.HashString(0, value), true
		}
	}
	return 0, false
}

// clientName is the client's identity, or its address where it has proven none.
func (x *exchange) clientName() string {
	if x.o.peerID != "" {
		return x.o.peerID
	}
	if x.o.client == "" {
		x.o.client = x.o.remote.Addr().String()
	}
	return x.o.client
}

// newCookie names a client that has no name yet; the answer sets it.
func (x *exchange) newCookie(k *model.HashKey) string {
	value := strconv.FormatUint(x.w.random.Uint64(), 36)
	x.setCookie = cookieText(k.Cookie, value, k.Path, k.TTL) + attributesText(k.Attributes)
	return value
}

func attributesText(in []model.CookieAttribute) string {
	var b strings.Builder
	for _, a := range in {
		b.WriteString("; " + a.Name)
		if a.Value != "" {
			b.WriteString("=" + a.Value)
		}
	}
	return b.String()
}

func cookieText(name, value, path string, ttl time.Duration) string {
	if path == "" {
		path = "/"
	}
	s := name + "=" + value + "; Path=" + path + "; HttpOnly"
	if ttl > 0 {
		s += "; Max-Age=" + strconv.FormatInt(int64(ttl/time.Second), 10)
	}
	return s
}

// cookie returns the value of a cookie (RFC 6265, section 4.2.1), "" if there is none.
func cookie(h *message.Head, name string) string {
	for i := range h.Fields {
		if h.Fields[i].Name != "cookie" {
			continue
		}
		for rest := h.Fields[i].Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
				return v
			}
		}
	}
	return ""
}

// queryValue returns the value of a parameter as it was sent.
func queryValue(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}

// token is what a client of a session holds: a hash of its endpoint's ID, so that the ID, which may hold addresses, is
// not told; when the session began, and when it was last used, in seconds.
type token struct {
	endpoint    uint64
	began, last int64
}

const sessionSeed = 0x5e5510

func sessionHash(m *model.Endpoint) uint64 { return balance.HashString(sessionSeed, m.ID) }

func (k token) String() string {
	return strconv.FormatUint(k.endpoint, 36) + "." + strconv.FormatInt(k.began, 36) + "." + strconv.FormatInt(k.last, 36)
}

// parseToken reads a token; the zero token when it is none. Clients can forge it: it only says where they would like
// to go.
func parseToken(s string) (k token) {
	if len(s) > 64 {
		return token{}
	}
	endpoint, rest, _ := strings.Cut(s, ".")
	began, last, ok := strings.Cut(rest, ".")
	var err [3]error
	k.endpoint, err[0] = strconv.ParseUint(endpoint, 36, 64)
	k.began, err[1] = strconv.ParseInt(began, 36, 64)
	k.last, err[2] = strconv.ParseInt(last, 36, 64)
	if !ok || err != [3]error{} {
		return token{}
	}
	return k
}

// over reports whether a session has ended by its policy.
func (k token) over(s *model.Session, now time.Time) bool {
	return s.Absolute > 0 && now.Unix()-k.began >= int64(s.Absolute/time.Second) ||
		s.Idle > 0 && now.Unix()-k.last >= int64(s.Idle/time.Second)
}

// session returns the policy that keeps clients with an endpoint, nil if there is none.
func (x *exchange) session() *model.Session {
	if x.plan == nil || x.opaque {
		return nil
	}
	return x.plan.session
}

// kept returns the index of the endpoint that the client was with before, if it can be used; -1 otherwise.
func (x *exchange) kept() int {
	s := x.session()
	if s == nil || len(x.tried) > 0 {
		return -1
	}
	text := x.req.Get(s.Header)
	if s.Cookie != "" {
		text = cookie(x.req, s.Cookie)
	}
	now := x.w.loop.Now()
	if x.token = parseToken(text); x.token.over(s, now) {
		x.token = token{}
	}
	if x.token.endpoint == 0 {
		return -1
	}
	c := &x.w.choice
	c.set, c.port, c.tried, c.now = x.set, x.tport, nil, now
	for i, ep := range x.set.all {
		if sessionHash(ep.model) == x.token.endpoint && c.usable(i) && c.healthy(i) {
			return i
		}
	}
	return -1
}

// keepSession tells a client whom it is with, when that has changed, or when it must know of the session's use.
func (x *exchange) keepSession(h *message.Head) {
	if x.setCookie != "" {
		h.Add("set-cookie", x.setCookie)
	}
	s := x.session()
	if s == nil || x.ep == nil || x.fixed != nil {
		return
	}
	now := token{endpoint: sessionHash(x.ep.model), began: x.w.loop.Now().Unix(), last: x.w.loop.Now().Unix()}
	if same := now.endpoint == x.token.endpoint; same {
		if now.began = x.token.began; s.Cookie != "" && (s.Idle == 0 || now.last == x.token.last) {
			return
		}
	}
	if s.Header != "" {
		h.Set(s.Header, now.String())
		return
	}
	ttl := time.Duration(0)
	if s.Keep {
		ttl = s.Absolute - time.Duration(now.last-now.began)*time.Second
	}
	h.Add("set-cookie", cookieText(s.Cookie, now.String(), s.Path, ttl))
}
