package agent

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// CaptureAsk is what a proxy says to who started it, as a line of JSON: which connections of the program are to come to
// it. Each is answered by a CaptureAnswer.
type CaptureAsk struct {
	All bool `json:"all"` // those to every address; else those to virtual addresses alone
}

// CaptureAnswer says that a CaptureAsk is in force, or why it is not.
type CaptureAnswer struct {
	Error string `json:"error,omitempty"`
}

// captureWait bounds how long who started the proxy may take to answer.
const captureWait = 5 * time.Second

// capturing has who started the proxy capture what a Sidecar asks for: weft-proxy itself cannot. Its owner is who
// applies snapshots. The nil capturing is of a program that is not captured, which has to send its calls to the proxy.
type capturing struct {
	conn  io.ReadWriteCloser
	lines *bufio.Scanner
	log   *slog.Logger
	said  bool  // there was an answer; who started us may have been asked for something by a proxy before us
	all   bool  // as last answered
	bad   error // why nobody can be asked any more
}

func newCapturing(conn io.ReadWriteCloser, log *slog.Logger) *capturing {
	if conn == nil {
		return nil
	}
	return &capturing{conn: conn, lines: bufio.NewScanner(conn), log: log}
}

// want makes it so that connections to every address are captured, or to virtual addresses alone. It blocks until they
// are.
func (c *capturing) want(all bool) error {
	if c == nil || c.said && c.all == all {
		return nil
	}
	if c.bad != nil {
		return c.bad
	}
	answer, err := c.ask(all)
	if err != nil {
		c.bad = fmt.Errorf("ask for what is captured: %w", err) // what comes now may be the answer to this
		return c.bad
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	c.said, c.all = true, all
	return nil
}

func (c *capturing) ask(all bool) (answer CaptureAnswer, err error) {
	line, err := json.Marshal(CaptureAsk{All: all})
	if err != nil {
		return answer, err
	}
	if d, ok := c.conn.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(time.Now().Add(captureWait))
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return answer, err
	}
	if !c.lines.Scan() {
		return answer, cmp.Or(c.lines.Err(), io.ErrUnexpectedEOF)
	}
	return answer, json.Unmarshal(c.lines.Bytes(), &answer)
}

// during applies a snapshot with the capture it asks for: more is captured before, and less after, so that nothing goes
// past a proxy that is to refuse it.
func (c *capturing) during(s *model.Snapshot, apply func() error) error {
	all := s.Workload.Outbound.CapturesAll()
	if all {
		if err := c.want(true); err != nil {
			return fmt.Errorf("%s: %w", s.Workload.Outbound.Ref, err)
		}
	}
	if err := apply(); err != nil {
		return err
	}
	if !all {
		if err := c.want(false); err != nil {
			c.log.Warn("more connections are captured than need be; they are passed on", "error", err)
		}
	}
	return nil
}

// sayUncaptured tells, once, of a policy that holds for those calls alone that a program sends to its proxy.
func (a *Agent) sayUncaptured(s *model.Snapshot) {
	if a.capture != nil || a.o.gateway() || !s.Workload.Outbound.CapturesAll() {
		return
	}
	if last := a.snapshot.Load(); last != nil && last.Workload.Outbound.CapturesAll() {
		return
	}
	a.log.Warn("the program is not captured: only what it sends to its proxy can be refused", "policy", s.Workload.Outbound.Ref.String())
}
