package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Bounds of the client's protocol.
const (
	maxJobs     = 32       // at once
	maxJobLine  = 64 << 10 // bytes
	maxDoneLine = 16 << 20 // bytes; a traced job of maxFlights requests fits
)

// order is a line to the client: start a job under an ID, or stop the one that has it.
type order struct {
	ID   string `json:"id"`
	Job  *Job   `json:"job,omitempty"`
	Stop bool   `json:"stop,omitempty"`
}

// report is a line from the client: the end of a job.
type report struct {
	ID     string  `json:"id"`
	Result *Result `json:"result,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// RunClient is the program behind `weft demo-client`: a load generator to be run inside the mesh. It takes
// orders from in and answers on out, both as JSON lines: {"id":"a","job":{...}} starts a job,
// {"id":"a","stop":true} stops it; every job is answered once, when it has ended. Jobs run side by side. It
// returns nil at the end of in or when ctx ends, after stopping the jobs under way, and an error when out
// cannot be written. When ctx ends while in is silent, one read of in is left behind for the process to end.
func RunClient(ctx context.Context, in io.Reader, out io.Writer) error {
	return runClient(ctx, in, out, newLoadClient())
}

func runClient(ctx context.Context, in io.Reader, out io.Writer, hc *http.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &jobs{ctx: ctx, client: hc, out: json.NewEncoder(out), cancel: cancel, running: map[string]context.CancelFunc{}}
	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() { ended <- readLines(ctx, in, lines) }()
	var err error
	for more := true; more; {
		select {
		case line := <-lines:
			c.take(line)
		case err = <-ended:
			more = false
		case <-ctx.Done():
			more = false
		}
	}
	cancel()
	c.wg.Wait()
	hc.CloseIdleConnections()
	return errors.Join(err, c.failed)
}

// readLines hands each line on until the end of in.
func readLines(ctx context.Context, in io.Reader, lines chan<- []byte) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxJobLine)
	for s.Scan() {
		select {
		case lines <- bytes.Clone(s.Bytes()):
		case <-ctx.Done():
			return nil
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("reading orders: %w", err)
	}
	return nil
}

// jobs are those under way.
type jobs struct {
	ctx    context.Context //nolint:containedctx // of RunClient, whose life is this one's
	client *http.Client
	cancel func()
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[string]context.CancelFunc
	out     *json.Encoder
	failed  error
}

// take obeys one order. What is wrong with an order is its answer.
func (c *jobs) take(line []byte) {
	var o order
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		c.answer(report{ID: o.ID, Error: fmt.Sprintf("order is not understood: %v", err)})
		return
	}
	c.mu.Lock()
	stop, known := c.running[o.ID]
	count := len(c.running)
	c.mu.Unlock()
	switch {
	case o.Stop && known:
		stop()
	case o.Stop:
		// It has ended by itself meanwhile, and its answer is on the way.
	case o.Job == nil:
		c.answer(report{ID: o.ID, Error: "order has neither job nor stop"})
	case known:
		c.answer(report{ID: o.ID, Error: "a job of that id is under way"})
	case count >= maxJobs:
		c.answer(report{ID: o.ID, Error: fmt.Sprintf("%d jobs are under way already", maxJobs)})
	default:
		c.start(o)
	}
}

func (c *jobs) start(o order) {
	ctx, stop := context.WithCancel(c.ctx)
	c.mu.Lock()
	c.running[o.ID] = stop
	c.mu.Unlock()
	c.wg.Go(func() {
		defer stop()
		r, err := Generate(ctx, c.client, *o.Job)
		c.mu.Lock()
		delete(c.running, o.ID)
		c.mu.Unlock()
		if err != nil {
			c.answer(report{ID: o.ID, Error: err.Error()})
			return
		}
		c.answer(report{ID: o.ID, Result: &r})
	})
}

// answer writes a line; when nobody reads any more all jobs end.
func (c *jobs) answer(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return
	}
	if err := c.out.Encode(r); err != nil {
		c.failed = fmt.Errorf("writing results: %w", err)
		c.cancel()
	}
}
