package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// remote drives a `weft demo-client` that runs inside the mesh. It is safe for concurrent use.
type remote struct {
	in  io.WriteCloser
	out io.ReadCloser

	mu      sync.Mutex
	last    int
	waiting map[string]chan report
	err     error // why no more answers will come
	done    chan struct{}
}

// newRemote reads answers from out until its end; orders go to in.
func newRemote(in io.WriteCloser, out io.ReadCloser) *remote {
	r := &remote{in: in, out: out, waiting: map[string]chan report{}, done: make(chan struct{})}
	go r.read()
	return r
}

func (r *remote) read() {
	defer close(r.done)
	s := bufio.NewScanner(r.out)
	s.Buffer(nil, maxDoneLine)
	for s.Scan() {
		var a report
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			continue // a line of something else on the same descriptor
		}
		r.mu.Lock()
		ch := r.waiting[a.ID]
		delete(r.waiting, a.ID)
		r.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
	err := s.Err()
	if err == nil {
		err = io.EOF
	}
	r.mu.Lock()
	r.err = fmt.Errorf("the load client has ended: %w", err)
	for _, ch := range r.waiting {
		close(ch)
	}
	clear(r.waiting)
	r.mu.Unlock()
}

// close ends the client by the end of its input, and the reader.
func (r *remote) close() {
	_ = r.in.Close()
	_ = r.out.Close()
	<-r.done
}

// running is a job under way.
type running struct {
	r  *remote
	id string
	ch chan report
}

// start begins a job.
func (r *remote) start(j Job) (*running, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	r.last++
	run := &running{r: r, id: strconv.Itoa(r.last), ch: make(chan report, 1)}
	if err := r.order(order{ID: run.id, Job: &j}); err != nil {
		return nil, err
	}
	r.waiting[run.id] = run.ch
	return run, nil
}

// order writes a line; the caller holds the lock.
func (r *remote) order(o order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	if _, err := r.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("the load client takes no orders: %w", err)
	}
	return nil
}

// wait returns the job's result.
func (j *running) wait(ctx context.Context) (Result, error) {
	select {
	case a, ok := <-j.ch:
		switch {
		case !ok:
			j.r.mu.Lock()
			defer j.r.mu.Unlock()
			return Result{}, j.r.err
		case a.Error != "":
			return Result{}, errors.New(a.Error)
		case a.Result == nil:
			return Result{}, errors.New("the load client answered without a result")
		}
		return *a.Result, nil
	case <-ctx.Done():
		return Result{}, fmt.Errorf("waiting for the load client: %w", ctx.Err())
	}
}

// stop ends the job and returns its result.
func (j *running) stop(ctx context.Context) (Result, error) {
	j.r.mu.Lock()
	err := j.r.order(order{ID: j.id, Stop: true})
	j.r.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	return j.wait(ctx)
}

// do runs a job to its end.
func (r *remote) do(ctx context.Context, j Job) (Result, error) {
	run, err := r.start(j)
	if err != nil {
		return Result{}, err
	}
	return run.wait(ctx)
}
