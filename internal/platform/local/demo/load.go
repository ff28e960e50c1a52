package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Bounds of a load job.
const (
	maxLoadRPS     = 20_000
	maxConcurrency = 4096
	maxFailures    = 100    // told one by one; the others are counted
	maxLatencies   = 65_536 // the latest are kept for the quantiles
	maxFlights     = 100_000
	maxLoadBody    = 1 << 20
)

// Job is a load to put on a URL: RPS requests a second, open loop, for Seconds or Count requests, whichever
// ends first; with neither until it is stopped.
type Job struct {
	URL         string            `json:"url"`
	Header      map[string]string `json:"header,omitempty"`
	RPS         float64           `json:"rps"`
	Seconds     float64           `json:"seconds,omitempty"`
	Count       int               `json:"count,omitempty"`
	Concurrency int               `json:"concurrency,omitempty"` // requests in flight, default 256
	Timeout     float64           `json:"timeout,omitempty"`     // of a request in seconds, default 10
	Answer      string            `json:"answer,omitempty"`      // regular expression; its group in the body is counted
	Reject      string            `json:"reject,omitempty"`      // a body with this text is a failure
	Trace       bool              `json:"trace,omitempty"`       // tell when each request was under way
}

func (j *Job) validate() error {
	u, err := url.Parse(j.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("url %q: wants http://HOST/PATH", j.URL)
	case !(j.RPS > 0 && j.RPS <= maxLoadRPS):
		return fmt.Errorf("rps %v: wants more than 0 and at most %d", j.RPS, maxLoadRPS)
	case j.Concurrency < 0 || j.Concurrency > maxConcurrency:
		return fmt.Errorf("concurrency %d: wants at most %d", j.Concurrency, maxConcurrency)
	case j.Seconds < 0 || j.Count < 0 || j.Timeout < 0:
		return errors.New("seconds, count and timeout cannot be negative")
	}
	return nil
}

// Result is what came of a Job.
type Result struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"` // answered below 400 and not rejected
	Failed   int            `json:"failed"`
	Aborted  int            `json:"aborted"` // under way when the job was stopped; neither of the above
	Status   map[int]int    `json:"status"`
	Answers  map[string]int `json:"answers,omitempty"`
	Failures []Failure      `json:"failures,omitempty"` // the first ones
	Latency  Latency        `json:"latency"`
	Elapsed  float64        `json:"elapsed"` // seconds
	Flights  []Flight       `json:"flights,omitempty"`
}

// Failure is a request that got no good answer. Times are Unix nanoseconds.
type Failure struct {
	Flight
	Status int    `json:"status,omitempty"` // 0: no answer
	Reason string `json:"reason"`
}

// Flight is the time a request was under way, in Unix nanoseconds.
type Flight struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Latency is in seconds, from the moment a request was due until its last byte.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Generate runs a job until it is done or ctx ends; the result is of what was sent until then. Requests leave
// on a fixed schedule whatever the answers do (an open loop); when Concurrency requests are under way the
// next ones leave late, and their latency still counts from when they were due, so a stall shows in full
// (coordinated omission). The error is of the job, never of its requests.
func Generate(ctx context.Context, c *http.Client, j Job) (Result, error) {
	if err := j.validate(); err != nil {
		return Result{}, err
	}
	g := &generator{job: j, client: c, tally: newTally(j.Trace)}
	if j.Answer != "" {
		re, err := regexp.Compile(j.Answer)
		if err != nil {
			return Result{}, fmt.Errorf("answer: %w", err)
		}
		g.answer = re
	}
	if g.job.Concurrency == 0 {
		g.job.Concurrency = 256
	}
	if g.job.Timeout == 0 {
		g.job.Timeout = 10
	}
	start := time.Now()
	g.dispatch(ctx, start)
	r := g.tally.result()
	r.Elapsed = time.Since(start).Seconds()
	return r, nil
}

type generator struct {
	job    Job
	client *http.Client
	answer *regexp.Regexp
	tally  *tally
}

// dispatch starts requests as they fall due and returns when all have ended.
func (g *generator) dispatch(ctx context.Context, start time.Time) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, g.job.Concurrency)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; g.job.Count == 0 || i < g.job.Count; i++ {
		offset := time.Duration(float64(i) / g.job.RPS * float64(time.Second))
		if g.job.Seconds > 0 && offset.Seconds() >= g.job.Seconds {
			return
		}
		due := start.Add(offset)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			g.one(ctx, due)
			<-slots
		})
	}
}

// one sends a request and records what came of it.
func (g *generator) one(ctx context.Context, due time.Time) {
	sent := time.Now()
	status, answer, reason := g.send(ctx)
	end := time.Now()
	if ctx.Err() != nil && reason != "" {
		g.tally.abort()
		return
	}
	g.tally.record(outcome{
		flight: Flight{Start: sent.UnixNano(), End: end.UnixNano()},
		took:   end.Sub(due), status: status, answer: answer, reason: reason,
	})
}

// send returns the status, the answer's group, and why the request failed ("" if it did not).
func (g *generator) send(ctx context.Context) (status int, answer, reason string) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.job.Timeout*float64(time.Second)))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.job.URL, nil)
	if err != nil {
		return 0, "", err.Error()
	}
	for k, v := range g.job.Header {
		req.Header.Set(k, v)
	}
	res, err := g.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL is the job's
		}
		return 0, "", err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxLoadBody))
	if err != nil {
		return res.StatusCode, "", "reading the answer: " + err.Error()
	}
	if g.answer != nil {
		if m := g.answer.FindSubmatch(body); len(m) > 1 {
			answer = string(m[1])
		}
	}
	switch {
	case res.StatusCode >= 400:
		reason = res.Status + ": " + clip(string(body), 160)
	case g.job.Reject != "" && strings.Contains(string(body), g.job.Reject):
		reason = fmt.Sprintf("the answer says %q", g.job.Reject)
	}
	return res.StatusCode, answer, reason
}

// newLoadClient returns a client that reuses connections as a server's would and honours HTTP_PROXY.
func newLoadClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		MaxIdleConns:        2 * maxConcurrency,
		MaxIdleConnsPerHost: maxConcurrency,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}}
}

func clip(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
