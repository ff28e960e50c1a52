package h2

import "encoding/binary"

// awayState is how far the end of a connection has come, from both sides.
type awayState struct {
	announced bool // GOAWAY with the highest identifier is out: the peer may learn of it in peace
	final     bool // GOAWAY with the real last identifier is out
	received  bool // the peer's
}

// goAwayPing marks the PING whose answer says that the peer has seen the announcement.
var goAwayPing = [8]byte{'w', 'e', 'f', 't', 'a', 'w', 'a', 'y'}

// GoAway begins a graceful end (RFC 9113, section 6.8): streams finish, new ones are taken until the peer has
// seen the announcement. With another code than NO_ERROR it is final at once.
func (c *Conn) GoAway(code ErrCode) {
	if c.err != nil || c.away.announced {
		return
	}
	c.away.announced = true
	c.resetAbandoned()
	if code != ErrCodeNo || c.cfg.Client {
		c.away.final = true
		c.goAwayFrame(c.lastPeer, code, "")
		return
	}
	c.goAwayFrame(maxStreamID, code, "")
	c.ping(goAwayPing)
}

// resetAbandoned ends the streams nobody waits for.
func (c *Conn) resetAbandoned() {
	for _, s := range c.streams {
		if s.abandoned {
			c.Reset(s, ErrCodeNo)
		}
	}
}

// onPong: the peer has seen the announcement; what it opens from now on is not taken.
func (c *Conn) onPong(p []byte) error {
	if c.away.announced && [8]byte(p) == goAwayPing {
		c.FinishGoAway()
	} else if h, ok := c.ev.(PongHandler); ok {
		h.OnPong([8]byte(p))
	}
	return nil
}

// FinishGoAway ends what GoAway began without waiting for the peer's answer: it names the last stream that is
// served, and refuses later ones. It does nothing before GoAway, or a second time.
func (c *Conn) FinishGoAway() {
	if c.err != nil || !c.away.announced || c.away.final {
		return
	}
	c.away.final = true
	c.goAwayFrame(c.lastPeer, ErrCodeNo, "")
}

// PongHandler is a Handler that wants to know of answers to Ping.
type PongHandler interface{ OnPong(data [8]byte) }

// Ping queues a PING; a Handler that is a PongHandler gets the answer (RFC 9113, section 6.7).
func (c *Conn) Ping(data [8]byte) {
	if c.err == nil {
		c.ping(data)
	}
}

func (c *Conn) ping(data [8]byte) {
	c.out = append(appendHeader(c.out, 8, typePing, 0, 0), data[:]...)
	c.pings++
}

// Drained reports that the connection takes no new streams and has none left: it may be closed.
func (c *Conn) Drained() bool {
	return len(c.streams) == 0 && (c.away.final || c.away.received || c.err != nil)
}

func (c *Conn) goAwayFrame(last uint32, code ErrCode, debug string) {
	c.out = appendHeader(c.out, 8+len(debug), typeGoAway, 0, 0)
	c.out = binary.BigEndian.AppendUint32(c.out, last)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
	c.out = append(c.out, debug...)
}

func (c *Conn) onGoAway(id uint32, p []byte) error {
	if id != 0 {
		return c.fail(ErrCodeProtocol, "GOAWAY on a stream")
	}
	if len(p) < 8 {
		return c.fail(ErrCodeFrameSize, "GOAWAY shorter than 8 bytes")
	}
	if err := c.spend(costSettings, "too many GOAWAY frames"); err != nil {
		return err
	}
	last := binary.BigEndian.Uint32(p) & maxStreamID
	code := ErrCode(binary.BigEndian.Uint32(p[4:]))
	c.away.received = true
	c.resetAbandoned()
	if c.cfg.Client {
		for sid, s := range c.streams {
			if sid > last {
				c.closed(s, ErrCodeRefusedStream, true)
			}
		}
	}
	c.ev.OnGoAway(last, code)
	return nil
}
