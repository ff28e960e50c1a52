package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is a buffer that a program writes and a test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func noEnv(string) string { return "" }

func TestProgramsServeAndStop(t *testing.T) {
	listening := regexp.MustCompile(`address=(\S+)`)
	for program, path := range map[string]string{"productpage": "/", "details": "/details/0", "reviews": "/reviews/0", "ratings": "/ratings/0"} {
		t.Run(program, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var out output
			exit := make(chan int, 1)
			go func() { exit <- run(ctx, []string{program, "--listen", "127.0.0.1:0"}, noEnv, &out) }()
			var addr string
			for deadline := time.Now().Add(10 * time.Second); addr == ""; {
				if m := listening.FindStringSubmatch(out.String()); m != nil {
					addr = m[1]
				} else if time.Now().After(deadline) {
					t.Fatalf("not listening: %s", out.String())
				}
			}
			for _, p := range []string{"/health", path} {
				res, err := http.Get("http://" + addr + p)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("%s: %d, want 200", p, res.StatusCode)
				}
			}
			cancel()
			if got := <-exit; got != 0 {
				t.Errorf("exit status %d after a signal, want 0: %s", got, out.String())
			}
		})
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{nil, 2, "usage:"},
		{[]string{"stars"}, 2, `unknown program "stars"`},
		{[]string{"details", "--port", "1"}, 2, "flag provided but not defined"},
		{[]string{"details", "extra"}, 2, `unexpected argument "extra"`},
		{[]string{"details", "--listen", "127.0.0.1:99999"}, 1, "--listen"},
		{[]string{"ratings", "--variant", "slow"}, 1, `unknown variant "slow"`},
		{[]string{"reviews", "--version", "v9"}, 1, `unknown version "v9"`},
		{[]string{"details", "-h"}, 0, "HOST:PORT"},
	} {
		var out output
		if got := run(context.Background(), c.args, noEnv, &out); got != c.exit || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: exit %d, %q; want %d and %q", c.args, got, out.String(), c.exit, c.want)
		}
	}
}
