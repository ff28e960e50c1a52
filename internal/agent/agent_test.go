package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/internal/model"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// etcd's own, which outlive its Close by a moment.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/pkg/v3/logutil.(*MergeLogger).outputLoop"))
}

func TestSnapshotFileRoundTrip(t *testing.T) {
	want := &model.Snapshot{
		Revision: 42, TrustDomain: "mesh.test",
		Workload: model.Workload{
			ID: "web-1", Identity: model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "web"},
			Service: model.ServiceName{Namespace: "default", Name: "web"}, Labels: map[string]string{"version": "v1"},
			Inbound: []model.Inbound{{ServicePort: 80, Port: 8080, Protocol: model.HTTP}},
		},
		Services: []model.Service{{
			Name: model.ServiceName{Namespace: "default", Name: "reviews"}, VIP: netip.MustParseAddr("240.240.0.9"),
			Ports: []model.Port{{Number: 9080}, {Number: 9090, Protocol: model.GRPC}},
			Rules: []model.Rule{{
				Ref:      model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "r", Rule: 1, File: "r.yaml", Line: 7},
				Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/"}, Headers: []model.ValueMatch{{Name: "a", Value: "yes: no"}}}},
				Request:  model.HeaderMod{Set: []model.HeaderValue{{Name: "x", Value: "1.0"}}, Remove: []string{"y"}},
				Backends: []model.Backend{{Service: model.ServiceName{Namespace: "default", Name: "reviews-v2"}, Weight: 3, Invalid: "no"}},
			}},
			Endpoints: []model.Endpoint{{
				ID: "reviews-1", Address: netip.MustParseAddrPort("[::1]:15008"), Ports: []uint16{9080}, Draining: true,
				Identity: model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "reviews"},
			}},
		}},
	}
	text, err := WriteSnapshot(want)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSnapshot(file)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Fatalf("-want +got\n%s", diff)
	}
	again, err := WriteSnapshot(got)
	if err != nil || string(again) != string(text) {
		t.Fatalf("written again it differs (%v):\n%s", err, again)
	}
	if err := os.WriteFile(file, append(text, "colour: red\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSnapshot(file); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Fatalf("an unknown field: %v", err)
	}
}

// plane runs a control plane and returns a client of its API.
func plane(t *testing.T) (adminv1connect.AdminServiceClient, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	s, err := control.New(control.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "weft.sock"))
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return adminv1connect.NewAdminServiceClient(&http.Client{Transport: tr}, "http://weft"), "unix://" + filepath.Join(dir, "proxy.sock")
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestEndpointFollowsItsProgram has the endpoint appear when the program accepts, go when it does not, and the
// agent end in order.
func TestEndpointFollowsItsProgram(t *testing.T) {
	client, proxies := plane(t)
	token, err := client.CreateJoinToken(t.Context(), connect.NewRequest(&adminv1.CreateJoinTokenRequest{Namespace: "default", Account: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token.Msg.GetToken()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(program.Addr().String()).Port()
	program.Close()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Control: proxies, TokenFile: tokenFile, ID: "web-1", Service: "web", Labels: map[string]string{"version": "v1"},
			Ports:   []model.Inbound{{ServicePort: 80, Port: port, Protocol: model.HTTP}},
			Inbound: netip.MustParseAddrPort("127.0.0.1:0"), Loops: 2, Ready: w,
		})
	}()
	line := make([]byte, 4096)
	n, err := r.Read(line)
	if err != nil || !strings.Contains(string(line[:n]), `"inbound":"127.0.0.1:`) {
		t.Fatalf("ready line %q, %v", line[:n], err)
	}
	endpoints := func(want int) func() error {
		return func() error {
			got, err := client.ListServices(t.Context(), connect.NewRequest(&adminv1.ListServicesRequest{}))
			if err != nil {
				return err
			}
			have := 0
			for _, s := range got.Msg.GetServices() {
				if s.GetService().GetName() == "default/web" {
					have = len(s.GetEndpoints().GetEndpoints())
				}
			}
			if have != want {
				return fmt.Errorf("%d endpoints, want %d", have, want)
			}
			return nil
		}
	}
	if err := endpoints(0)(); err != nil {
		t.Fatalf("before the program is there: %v", err)
	}
	accept := func() net.Listener {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		return ln
	}
	ln := accept()
	eventually(t, "the program is there", endpoints(1))
	ln.Close()
	eventually(t, "the program is gone", endpoints(0))
	ln = accept()
	defer ln.Close()
	eventually(t, "the program is back", endpoints(1))
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent does not end")
	}
	eventually(t, "the agent has left", endpoints(0))
}

func TestRefusedTokenEndsTheAgent(t *testing.T) {
	_, proxies := plane(t)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("weft-join-v1.nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Options{Control: proxies, TokenFile: tokenFile, ID: "x", Service: "x"})
	var coded interface{ ExitCode() int }
	if !errors.As(err, &coded) || coded.ExitCode() != 65 {
		t.Fatalf("got %v, want an error of exit status 65", err)
	}
}
