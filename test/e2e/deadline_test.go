package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Settings of hop and grpcHop.
const (
	envNext  = "WEFT_E2E_NEXT"  // whom it calls; without one it works until its request ends, for a minute at most
	envPass  = "WEFT_E2E_PASS"  // the header field it passes on, the only one
	envNotes = "WEFT_E2E_NOTES" // file for what it noted of its request
)

// note is what a program saw of a request.
type note struct {
	Told  string // of the deadline
	Began time.Time
	Ended time.Time // when the request's context did, or the handler if that was before
	Why   string
}

// write makes the file whole at once: it is read meanwhile. It is written when a request begins and when it has ended.
func (n note) write() {
	file := os.Getenv(envNotes)
	b, _ := json.Marshal(n)
	if err := os.WriteFile(file+".new", b, 0o600); err == nil {
		_ = os.Rename(file+".new", file)
	}
}

// hop is an HTTP server that calls the next for each request, or works. Its call does not end with the request it is
// for, as in programs whose clients know no context: who ends it is the mesh.
func hop(port string) error {
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := note{Began: time.Now(), Told: r.Header.Get("weft-deadline-ms")}
		n.write()
		ended := make(chan time.Time, 1)
		stop := context.AfterFunc(r.Context(), func() { ended <- time.Now() })
		n.Why = work(r)
		if stop() {
			ended <- time.Now()
			if r.Context().Err() == nil {
				n.Why += ", its caller still there"
			}
		}
		n.Ended = <-ended
		n.write()
		w.WriteHeader(http.StatusGatewayTimeout)
	}))
}

func work(r *http.Request) string {
	next := os.Getenv(envNext)
	if next == "" {
		return idle(r.Context())
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), "GET", next, nil)
	if err != nil {
		return err.Error()
	}
	if pass := os.Getenv(envPass); r.Header.Get(pass) != "" {
		req.Header.Set(pass, r.Header.Get(pass))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}

// idle is the work of the last.
func idle(ctx context.Context) string {
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return "cancelled"
	case <-t.C:
		return "worked for a minute"
	}
}

// grpcHop is hop for gRPC: its library passes the deadline on.
type grpcHop struct {
	healthpb.UnimplementedHealthServer
	next healthpb.HealthClient
}

func (h *grpcHop) Check(ctx context.Context, in *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	n := note{Began: time.Now()}
	if at, ok := ctx.Deadline(); ok {
		n.Told = strconv.FormatInt(int64((time.Until(at)+time.Millisecond-1)/time.Millisecond), 10)
	}
	n.write()
	var err error
	if h.next == nil {
		n.Why = idle(ctx)
		err = status.FromContextError(ctx.Err()).Err()
	} else {
		_, err = h.next.Check(metadata.NewOutgoingContext(ctx, nil), in)
		n.Why = status.Code(err).String()
	}
	n.Ended = time.Now()
	n.write()
	return &healthpb.HealthCheckResponse{}, err
}

func serveGRPCHop(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	h := &grpcHop{}
	if next := os.Getenv(envNext); next != "" {
		conn, err := grpc.NewClient("passthrough:///"+next, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		h.next = healthpb.NewHealthClient(conn)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, h)
	return s.Serve(ln)
}

// deadlineClient makes one request of "FIELD VALUE TARGET", by gRPC if the field is grpc-timeout, and tells when it
// began, when it ended, and how.
func deadlineClient(arg string) error {
	var field, value, target string
	if _, err := fmt.Sscan(arg, &field, &value, &target); err != nil {
		return err
	}
	n := note{Began: time.Now()}
	if field == "grpc-timeout" {
		left, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		n.Began = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		n.Why = status.Code(err).String()
	} else {
		req, err := http.NewRequest("GET", target, nil)
		if err != nil {
			return err
		}
		req.Header.Set(field, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n.Why = resp.Status
	}
	n.Ended = time.Now()
	return json.NewEncoder(os.Stdout).Encode(n)
}

// TestDeadlineOverThreeHops: client -> a -> b -> c, and the client waits for 200 ms. After that no program has work any
// more: the context of its request has ended. A program is told of it over loopback, by a proxy and a runtime that a busy
// machine may keep waiting, so 2 s are borne; c alone would work for a minute, and nobody but the mesh stops it.
func TestDeadlineOverThreeHops(t *testing.T) {
	const (
		deadline  = 200 * time.Millisecond
		tolerance = 2 * time.Second
	)
	for _, c := range []struct {
		name, role   string
		port, next   string // of `weft run`, and how a service is called
		pass         string
		field, value string // the client's
		policy       string
		answer       string
	}{
		{"grpc-timeout", "grpc-hop", "http2", "%s:80", "", "grpc-timeout", "200ms", "", "DeadlineExceeded"},
		{"weft-deadline-ms", "hop", "http", "http://%s/", "weft-deadline-ms", "weft-deadline-ms", "200", "", "504"},
		{"by x-request-id", "hop", "http", "http://%s/", "x-request-id", "weft-deadline-ms", "200", "", "504"},
		{"of a policy, by x-request-id", "hop", "http", "http://%s/", "x-request-id", "x-none", "none", "  timeouts: {request: 200ms}\n", "504"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t)
			notes := func(name string) string { return filepath.Join(m.dir, name+".note") }
			for _, hop := range []struct{ name, next string }{{"c", ""}, {"b", "c"}, {"a", "b"}} {
				port := fmt.Sprint(freePort(t))
				env := []string{envPass + "=" + c.pass, envNotes + "=" + notes(hop.name)}
				if hop.next != "" {
					env = append(env, envNext+"="+fmt.Sprintf(c.next, hop.next))
				}
				m.actor(c.role, port, env, "--service", hop.name, "--port", "80:"+port+"/"+c.port)
				m.ready(hop.name, 1)
			}
			if c.policy != "" {
				m.must("apply", "--wait", "-f", m.file("policy.yaml", strings.ReplaceAll(policyDocument(c.policy), "name: web", "name: a")))
			}
			client := m.reachAll(fmt.Sprintf("%s %s %s", c.field, c.value, fmt.Sprintf(c.next, "a")), notes("a"), notes("b"), notes("c"))
			if !strings.HasPrefix(client.Why, c.answer) {
				t.Errorf("the client: %s, want %s", client.Why, c.answer)
			}
			left := deadline.Milliseconds()
			for _, name := range []string{"a", "b", "c"} {
				n := readNote(t, notes(name))
				after := n.Ended.Sub(client.Began)
				t.Logf("%s: told %s ms, began after %v, ended after %v: %s", name, n.Told, n.Began.Sub(client.Began).Round(time.Millisecond), after.Round(time.Millisecond), n.Why)
				told, err := strconv.ParseInt(n.Told, 10, 64)
				if err != nil || told > left {
					t.Errorf("%s is told that %q ms are left, after %d", name, n.Told, left)
				}
				left = told
				if after > deadline+tolerance {
					t.Errorf("%s works %v after the beginning, %v at most is borne", name, after, deadline+tolerance)
				}
				if name == "c" && n.Why != "cancelled" {
					t.Errorf("c %s, want it cancelled", n.Why)
				}
			}
			if took := client.Ended.Sub(client.Began); took > deadline+tolerance || took < deadline*9/10 {
				t.Errorf("the client had its answer after %v", took)
			}
		})
	}
}

// reachAll has a deadlineClient make its request, again on a machine too busy to reach the last program within the
// deadline. It returns when all programs that began have ended.
func (m *mesh) reachAll(arg string, files ...string) (client note) {
	m.t.Helper()
	eventually(m.t, 60*time.Second, "the last program is reached in time", func() error {
		p := m.join("deadline-client", arg)
		if err := json.Unmarshal([]byte(p.out.String()), &client); err != nil {
			m.t.Fatalf("the client: %v: %s%s", err, p.out.String(), clip(p.err.String()))
		}
		// All that begins has begun by now: the client waited until the deadline.
		var late []string
		for _, file := range files {
			if n := readNote(m.t, file); n.Began.Before(client.Began) {
				late = append(late, filepath.Base(file))
			}
		}
		for _, file := range files {
			eventually(m.t, time.Minute, "a program that began ends: "+file, func() error {
				if n := readNote(m.t, file); !n.Began.IsZero() && n.Ended.IsZero() {
					return fmt.Errorf("it works since %v", time.Since(n.Began))
				}
				return nil
			})
		}
		if len(late) > 0 {
			m.t.Logf("again: it did not come to %v: %s", late, p.out.String())
			return fmt.Errorf("it did not come to %v: %s", late, p.out.String())
		}
		return nil
	})
	return client
}

// readNote returns what a program noted last, which is nothing before its first request.
func readNote(t testing.TB, file string) (n note) {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return note{}
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
