package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

// probe is one check by a datagram: it is sent once, and the first answer, a refusal or the timeout decides.
type probe struct {
	l    *loop.Loop
	task *loop.Task
	want []byte // what a good answer has in it
	err  error
	done bool
}

var _ loop.Handler = (*probe)(nil)

var errNoAnswer = errors.New("no answer to a datagram")

// askUDP sends the check's datagram and waits for an answer. UDP loses datagrams: it takes several bad checks in a row to
// leave an endpoint out.
func (c *checker) askUDP(timeout time.Duration) error {
	l := c.ep.w.loop
	p := &probe{l: l, task: l.Current(), want: c.m.Receive}
	conn, err := l.DialDatagrams(c.ep.model.Address, p)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Send(c.m.Send); err != nil {
		return err
	}
	var late loop.Timer
	l.AfterFunc(&late, timeout, func() { p.end(fmt.Errorf("%w within %s", errNoAnswer, timeout)) })
	defer late.Stop()
	for !p.done {
		l.Park()
	}
	return p.err
}

// end decides, once.
func (p *probe) end(err error) {
	if p.done {
		return
	}
	p.done, p.err = true, err
	p.l.Wake(p.task)
}

// Datagram takes an answer.
func (p *probe) Datagram(b []byte, _ loop.Peer) {
	if !bytes.Contains(b, p.want) {
		p.end(fmt.Errorf("an answer of %d bytes without what is expected", len(b)))
		return
	}
	p.end(nil)
}

// DatagramError learns that the endpoint has no such port, or cannot be reached.
func (p *probe) DatagramError(err error) { p.end(err) }
