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
				value = x.newCookie(k.Cookie, k.Path, k.TTL)
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
func (x *exchange) newCookie(name, path string, ttl time.Duration) string {
	value := strconv.FormatUint(x.w.random.Uint64(), 36)
	x.setCookie = cookieText(name, value, path, ttl)
	return value
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

// token names an endpoint to clients: a hash, so that its ID, which may hold addresses, is not told.
func token(m *model.Endpoint) string {
	return strconv.FormatUint(balance.HashString(sessionSeed, m.ID), 36)
}

const sessionSeed = 0x5e5510

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
	x.sessionToken = x.req.Get(s.Header)
	if s.Cookie != "" {
		x.sessionToken = cookie(x.req, s.Cookie)
	}
	if x.sessionToken == "" {
		return -1
	}
	c := &x.w.choice
	c.set, c.port, c.tried, c.now = x.set, x.tport, nil, x.w.loop.Now()
	for i, ep := range x.set.all {
		if token(ep.model) == x.sessionToken && c.usable(i) && c.healthy(i) {
			return i
		}
	}
	return -1
}

// keepSession tells a client whom it is with, when that has changed.
func (x *exchange) keepSession(h *message.Head) {
	if x.setCookie != "" {
		h.Add("set-cookie", x.setCookie)
	}
	s := x.session()
	if s == nil || x.ep == nil || x.fixed != nil {
		return
	}
	now := token(x.ep.model)
	if s.Header != "" {
		h.Set(s.Header, now)
		return
	}
	if now == x.sessionToken {
		return
	}
	ttl := time.Duration(0)
	if s.Keep {
		ttl = s.Absolute
	}
	h.Add("set-cookie", cookieText(s.Cookie, now, s.Path, ttl))
}
