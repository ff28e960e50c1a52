package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// TestMain makes the test binary a stand-in for weft-proxy, and for a supervisor that is to be killed.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "--control":
		os.Exit(standIn(os.Args[1:]))
	case os.Getenv("WEFT_TEST_SUPERVISE") != "":
		os.Exit(superviseForKill())
	}
	goleak.VerifyTestMain(m)
}

// standIn does what Run expects of weft-proxy: listens where it is told, reports it, logs its admin calls and
// its end.
func standIn(args []string) int {
	flags := map[string]string{}
	upstreams := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
		if args[i] == "--upstream" {
			k, v, _ := strings.Cut(args[i+1], "=")
			upstreams[k] = v
		}
	}
	note := func(s string) { fmt.Fprintln(os.Stderr, "proxy:", s) }
	if token, err := os.ReadFile(flags["--token"]); err != nil || string(token) != "secret\n" {
		note("bad token")
		return 3
	}
	open := func(addr string) string {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			note(err.Error())
			os.Exit(4)
		}
		return l.Addr().String()
	}
	ready := Ready{
		Inbound: open(flags["--inbound"]), Outbound: open(flags["--outbound"]), HTTPProxy: open(flags["--http-proxy"]),
		DNS: open(flags["--dns"]), Admin: flags["--admin"], Upstreams: map[string]string{},
	}
	for k, v := range upstreams {
		ready.Upstreams[k] = open(v)
	}
	path := strings.TrimPrefix(flags["--admin"], "unix://")
	_ = os.Remove(path) // of the one that died
	l, err := net.Listen("unix", path)
	if err != nil {
		note(err.Error())
		return 5
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /leave", func(http.ResponseWriter, *http.Request) { note("leave") })
	go http.Serve(l, mux)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	note("args " + strings.Join(args, " "))
	if err := json.NewEncoder(os.NewFile(3, "ready")).Encode(ready); err != nil {
		return 6
	}
	<-term
	note("drained")
	return 0
}

// control is the part of the control plane that Run asks.
type control struct {
	adminv1connect.AdminServiceClient // nil: a call of anything else fails the test
}

func (control) Version(context.Context, *connect.Request[adminv1.VersionRequest]) (*connect.Response[adminv1.VersionResponse], error) {
	return connect.NewResponse(&adminv1.VersionResponse{ProxyAddress: "unix:///proxies.sock"}), nil
}

func (control) CreateJoinToken(_ context.Context, r *connect.Request[adminv1.CreateJoinTokenRequest]) (*connect.Response[adminv1.CreateJoinTokenResponse], error) {
	return connect.NewResponse(&adminv1.CreateJoinTokenResponse{Token: "secret"}), nil
}

// waitFor polls until ok, at most 15 s.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain waited for ", what)
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}
