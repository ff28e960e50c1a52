package proxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/model"
)

// TestConnectTimeout has a listener whose queue is full: Linux lets clients of it wait.
func TestConnectTimeout(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(name.(*unix.SockaddrInet4).Port))
	full := false
	for i := 0; i < 10 && !full; i++ {
		c, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if full = err != nil; !full {
			defer c.Close()
		}
	}
	if !full {
		t.Skip("this system's listeners take more connections than they are told")
	}
	s := model.Service{
		Name: model.ServiceName{Namespace: "default", Name: "web"}, Ports: []model.Port{{Number: 80}},
		Endpoints: []model.Endpoint{{ID: "web-1", Address: at, Plain: true}},
		Upstream:  &model.Upstream{Connections: model.Connections{ConnectTimeout: 100 * time.Millisecond}},
	}
	edge := newLab(t).edge(toAll(), s)
	began := time.Now()
	resp, body := ask(t, edge, "GET", "/", "")
	// Without the policy it is 3 s.
	if took := time.Since(began); resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagConnect || took > 2*time.Second {
		t.Errorf("%d %q after %v", resp.StatusCode, body, took)
	}
}

// TestKeepAliveOfConnections reads what the kernel knows of the connection that a request went over.
func TestKeepAliveOfConnections(t *testing.T) {
	s := program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	s.Upstream = &model.Upstream{Connections: model.Connections{
		KeepAlive: &model.KeepAlive{Time: 111 * time.Second, Interval: 17 * time.Second, Probes: 5},
	}}
	_, body := ask(t, newLab(t).edge(toAll(), s), "GET", "/", "")
	local, err := netip.ParseAddrPort(body)
	if err != nil {
		t.Fatal(err)
	}
	for fd := 3; fd < 4096; fd++ {
		name, err := unix.Getsockname(fd)
		if in, ok := name.(*unix.SockaddrInet4); err != nil || !ok || in.Port != int(local.Port()) {
			continue
		}
		for _, x := range []struct{ level, option, want int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 111},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 17},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 5},
		} {
			if got, err := unix.GetsockoptInt(fd, x.level, x.option); err != nil || got != x.want {
				t.Errorf("option %d is %d, want %d (%v)", x.option, got, x.want, err)
			}
		}
		return
	}
	t.Fatalf("no socket of this process has the address %s", local)
}
