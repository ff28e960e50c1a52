package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serverClient serves h and returns its URL and a client that leaves nothing behind.
func serverClient(t *testing.T, h http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	srv := httptest.NewServer(h)
	c := newLoadClient()
	t.Cleanup(func() { c.CloseIdleConnections(); srv.Close() })
	return srv.URL, c
}

func TestGenerateCountsWhatCame(t *testing.T) {
	var n atomic.Int64
	url, c := serverClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("end-user") != "jason" {
			t.Error("the job's header is missing")
		}
		switch i := n.Add(1); {
		case i <= 10:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		case i <= 15:
			fmt.Fprint(w, `sorry, unavailable`)
		default:
			fmt.Fprintf(w, `{"podname":"reviews-v%d"}`, i%2+1)
		}
	})
	r, err := Generate(t.Context(), c, Job{
		URL: url, RPS: 2000, Count: 115, Header: map[string]string{"end-user": "jason"},
		Answer: `"podname":"(reviews-v[0-9])"`, Reject: "unavailable", Trace: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 115 || r.OK != 100 || r.Failed != 15 || r.Status[503] != 10 || r.Status[200] != 105 {
		t.Errorf("got %+v, want 115 sent, 100 good, 15 failed of which 10 were 503", r)
	}
	if r.Answers["reviews-v1"] != 50 || r.Answers["reviews-v2"] != 50 || len(r.Flights) != 115 {
		t.Errorf("answers %v, %d flights; want 50 of each and 115", r.Answers, len(r.Flights))
	}
	if r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 {
		t.Errorf("latency %+v", r.Latency)
	}
	var refused bool
	for _, f := range r.Failures {
		refused = refused || f.Status == 503 && strings.Contains(f.Reason, "not now")
	}
	if !refused {
		t.Errorf("failures %+v do not tell of the 503 and its text", r.Failures)
	}
}

// transportFunc answers requests in process, so that synctest's clock runs.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func slow(d time.Duration) *http.Client {
	return &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})}
}

func TestGenerateIsAnOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 100 requests/s of 1 s each: a closed loop of one would send 2 in 2 s.
		r, err := Generate(t.Context(), slow(time.Second), Job{URL: "http://x/", RPS: 100, Seconds: 2})
		if err != nil || r.Sent != 200 || r.Latency.Max != 1 {
			t.Errorf("sent %d, slowest %v s, %v; want 200 of 1 s", r.Sent, r.Latency.Max, err)
		}
		if r.Elapsed < 2.98 || r.Elapsed > 3 {
			t.Errorf("took %v s, want 2.99", r.Elapsed)
		}
	})
}

// With one slot the requests queue, and their latency must say so: counted from when they were due.
func TestGenerateCountsLatencyFromTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Generate(t.Context(), slow(time.Second), Job{URL: "http://x/", RPS: 10, Count: 5, Concurrency: 1})
		// The fifth was due at 0.4 s and ended at 5 s.
		if err != nil || r.Sent != 5 || r.Latency.Max < 4.59 || r.Latency.Max > 4.61 {
			t.Errorf("sent %d, slowest %v s, %v; want 5 and 4.6 s", r.Sent, r.Latency.Max, err)
		}
	})
}

func TestGenerateTimesOutAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Generate(t.Context(), slow(time.Minute), Job{URL: "http://x/", RPS: 10, Count: 3, Timeout: 2})
		if err != nil || r.Failed != 3 || !strings.Contains(r.Failures[0].Reason, "deadline") {
			t.Errorf("%+v, %v; want 3 that met their deadline", r, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 950*time.Millisecond)
		defer cancel()
		r, err = Generate(ctx, slow(time.Minute), Job{URL: "http://x/", RPS: 10})
		if err != nil || r.Sent != 10 || r.Aborted != 10 || r.Failed != 0 {
			t.Errorf("%+v, %v; want 10 aborted by the stop, none failed", r, err)
		}
	})
}

func TestGenerateRefusesNonsense(t *testing.T) {
	for want, j := range map[string]Job{
		"url":         {URL: "reviews:9080", RPS: 1},
		"rps":         {URL: "http://x/", RPS: 0},
		"concurrency": {URL: "http://x/", RPS: 1, Concurrency: 1 << 20},
		"negative":    {URL: "http://x/", RPS: 1, Count: -1},
		"answer":      {URL: "http://x/", RPS: 1, Answer: "("},
	} {
		if _, err := Generate(t.Context(), http.DefaultClient, j); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error about %s", j, err, want)
		}
	}
}
