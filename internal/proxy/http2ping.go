package proxy

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

// pinging keeps account of the PINGs on a connection to an endpoint, as its policy asks for them.
type pinging struct {
	c     *h2conn
	timer loop.Timer
	tick  func()
	sent  bool      // a PING is out
	heard bool      // something came since
	since time.Time // when it left
}

// pingData is what our PINGs carry.
var pingData = [8]byte{'w', 'e', 'f', 't', 'l', 'i', 'v', 'e'}

// keepAlive begins to ask whether the peer is there, where the policy of the endpoint wants it and nothing does yet.
func (c *h2conn) keepAlive() {
	if c.ep.timing.Ping == nil || c.pinging != nil || c.dead != nil {
		return
	}
	p := &pinging{c: c}
	p.tick = p.onTick
	c.pinging = p
	p.after(c.ep.timing.Ping.Interval)
}

// onTick sends a PING when one is due, and ends a connection on which nothing at all has come for the time that one may
// take: an answer may wait behind content. Without a policy any longer it asks no more.
func (p *pinging) onTick() {
	c, want := p.c, p.c.ep.timing.Ping
	if c.dead != nil {
		return
	}
	if want == nil {
		c.pinging = nil
		return
	}
	now := c.w.loop.Now()
	passed := now.Sub(p.since)
	switch {
	case p.sent && !p.heard && passed >= want.Timeout:
		c.fail(fmt.Errorf("the server has not answered a PING for %s", passed.Round(time.Millisecond)))
	case p.sent && !p.heard:
		p.after(want.Timeout - passed)
	case p.sent && passed < want.Interval:
		p.after(want.Interval - passed)
	default:
		p.sent, p.heard, p.since = true, false, now
		c.codec.Ping(pingData)
		c.touch()
		p.after(min(want.Interval, want.Timeout))
	}
}

func (p *pinging) after(d time.Duration) {
	p.c.w.loop.AfterFunc(&p.timer, max(d, time.Millisecond), p.tick)
}
