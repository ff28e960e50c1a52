package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// FeedAnswer is what a proxy says to each snapshot it is fed: it runs, or the reason why the one before
// goes on.
type FeedAnswer struct {
	Revision int64             `json:"revision"`
	Error    string            `json:"error,omitempty"`
	Sockets  map[string]string `json:"sockets,omitempty"` // of the snapshot -> bound
}

var errFeedEnded = errors.New("whoever configures the proxy has ended")

// feeder takes snapshots, each a line of JSON, from whoever started the proxy, and answers each with a line.
type feeder struct {
	a     *Agent
	lines *bufio.Scanner
	to    io.Writer
}

func newFeeder(a *Agent) *feeder {
	lines := bufio.NewScanner(a.o.Feed)
	lines.Buffer(make([]byte, 0, 64<<10), maxSnapshot)
	return &feeder{a: a, lines: lines, to: a.o.Feed}
}

// first applies snapshots until one is accepted. It returns early when ctx ends.
func (f *feeder) first(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = f.a.o.Feed.Close() })()
	for {
		ok, err := f.next()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if ok {
			return nil
		}
	}
}

// run applies snapshots until the feed ends, and then lets the proxy drain and end: nobody is left to look
// after it.
func (f *feeder) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = f.a.o.Feed.Close() })()
	for {
		_, err := f.next()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFeedEnded):
			f.a.end()
			return nil
		default:
			return err
		}
	}
}

// next takes one snapshot and reports whether it was accepted.
func (f *feeder) next() (ok bool, err error) {
	if !f.lines.Scan() {
		if err := f.lines.Err(); err != nil {
			return false, fmt.Errorf("read a snapshot: %w", err)
		}
		return false, errFeedEnded
	}
	s := new(model.Snapshot)
	err = json.Unmarshal(f.lines.Bytes(), s)
	if err == nil {
		err = f.a.apply(s)
	}
	answer := FeedAnswer{Revision: s.Revision}
	if err != nil {
		answer.Error = err.Error()
	} else {
		answer.Sockets = f.a.sockets()
	}
	line, jsonErr := json.Marshal(answer)
	if jsonErr != nil {
		return false, jsonErr
	}
	if _, werr := f.to.Write(append(line, '\n')); werr != nil {
		return false, fmt.Errorf("answer a snapshot: %w", werr)
	}
	return err == nil, nil
}

// sockets are the engine's as text.
func (a *Agent) sockets() map[string]string {
	bound := a.engine.Sockets()
	out := make(map[string]string, len(bound))
	for _, asked := range slices.SortedFunc(maps.Keys(bound), netip.AddrPort.Compare) {
		out[asked.String()] = bound[asked].String()
	}
	for asked, at := range a.engine.DatagramSockets() {
		out[asked.String()+"/udp"] = at.String() + "/udp"
	}
	return out
}
