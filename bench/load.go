package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

type load = func(context.Context, *lab, *subject) (float64, error)

var (
	wrkDone = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkBad  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
	h2Done  = regexp.MustCompile(`requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored`)
	h2Bytes = regexp.MustCompile(`traffic: .* \((\d+)\) data`)
	h2Codes = regexp.MustCompile(`status codes: (\d+) 2xx`)
)

// wrk loads with that many connections, closed loop: each has one request under way.
func wrk(conns int, path string) load {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) { return l.wrk(ctx, s, conns, path) }
}

func (l *lab) wrk(ctx context.Context, s *subject, conns int, path string) (float64, error) {
	program, err := look("wrk")
	if err != nil {
		return 0, err
	}
	out, err := output(ctx, program, "-t1", "-c", strconv.Itoa(conns), "-d", l.duration(), "http://"+s.addr+path)
	if err != nil {
		return 0, err
	}
	if bad := wrkBad.FindString(out); bad != "" {
		return 0, errors.New("wrk: " + bad)
	}
	return number(wrkDone, out)
}

// duration is the time of a load as wrk and h2load take it.
func (l *lab) duration() string { return strconv.Itoa(max(1, int(l.o.seconds+0.5))) }

func number(re *regexp.Regexp, out string) (float64, error) {
	m := re.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("cannot read %q", out)
	}
	return strconv.ParseFloat(m[1], 64)
}

// h2load loads over HTTP/2 with prior knowledge, closed loop: each stream has one request under way.
func h2load(conns, streams int, path string, grpc bool) load {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		program, err := look("h2load")
		if err != nil {
			return 0, err
		}
		args := []string{"-c", strconv.Itoa(conns), "-m", strconv.Itoa(streams), "-D", l.duration()}
		if grpc {
			message, err := l.file("message", "\x00\x00\x00\x00\x40"+strings.Repeat("m", 0x40))
			if err != nil {
				return 0, err
			}
			args = append(args, "-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers")
		}
		out, err := output(ctx, program, append(args, "http://"+s.addr+path)...)
		if err != nil {
			return 0, err
		}
		done, codes := h2Done.FindStringSubmatch(out), h2Codes.FindStringSubmatch(out)
		if done == nil || codes == nil || done[2] != "0" || done[3] != "0" || codes[1] == "0" {
			return 0, fmt.Errorf("h2load: %s", out)
		}
		n, err := strconv.ParseFloat(done[1], 64)
		if err != nil || !grpc {
			return n, err
		}
		// A gRPC error is a 200 without messages: the answers must have brought what the server sent.
		data, err := number(h2Bytes, out)
		if want := n * float64(grpcMessages(path)) * (5 + 0x40); err == nil && data < want {
			err = fmt.Errorf("%.0f gRPC answers brought %.0f bytes, want %.0f: some failed", n, data, want)
		}
		return n, err
	}
}

// grpcMessages is how many messages the server's method answers with.
func grpcMessages(path string) int {
	if path == "/bench.Echo/Stream" {
		return 100
	}
	return 1
}

// ofSelf runs a child of this program that prints one number.
func ofSelf(ctx context.Context, args ...string) (float64, error) {
	out, err := outputSelf(ctx, args...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

func (l *lab) seconds() string { return strconv.FormatFloat(l.o.seconds, 'f', -1, 64) }

// connect makes new TLS connections, conns at a time.
func connect(conns int) load {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		return ofSelf(ctx, "tls-connect", s.addr, strconv.Itoa(conns), l.seconds())
	}
}

// echo sends size bytes and waits for them to come back, over and over.
func echo(conns, size int) load {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		return ofSelf(ctx, "tcp-echo", s.addr, strconv.Itoa(conns), strconv.Itoa(size), l.seconds())
	}
}

// bulk sends as much as goes and reads it back; the operation is a MiB.
func bulk(ctx context.Context, l *lab, s *subject) (float64, error) {
	return ofSelf(ctx, "tcp-bulk", s.addr, l.seconds())
}

// latency is a quantile of the time an answer takes at a fixed rate, in microseconds.
func latency(rate int, q float64) func(context.Context, *lab, *subject) (float64, error) {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		return ofSelf(ctx, "open-loop", s.addr, strconv.Itoa(rate), strconv.FormatFloat(q, 'f', -1, 64), l.seconds())
	}
}

// memory is what the processes hold, after they had time to settle.
func memory(ctx context.Context, _ *lab, s *subject) (float64, error) {
	if err := pause(ctx, 2*time.Second); err != nil {
		return 0, err
	}
	return residentMiB(s.pids)
}

// idle is the memory held with that many connections, each of which has made one request.
func idle(conns int) func(context.Context, *lab, *subject) (float64, error) {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		p, err := l.startSelf("idle", "idle", s.addr, strconv.Itoa(conns))
		if err != nil {
			return 0, err
		}
		defer p.stop()
		if err := waitFor(ctx, p, func() bool { return strings.Contains(p.said.String(), "up") }); err != nil {
			return 0, err
		}
		return memory(ctx, l, s)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
