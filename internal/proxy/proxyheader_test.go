package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

func TestProxyHeader(t *testing.T) {
	four, six := netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("[fd00::1]:80")
	for _, c := range []struct {
		version  int
		from, to netip.AddrPort
		want     string
	}{
		{1, four, netip.MustParseAddrPort("10.0.0.2:80"), "PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\n"},
		{1, four, six, "PROXY TCP6 ::ffff:10.0.0.1 fd00::1 1000 80\r\n"},
		{1, netip.AddrPort{}, six, "PROXY UNKNOWN\r\n"},
		{2, four, netip.MustParseAddrPort("10.0.0.2:80"), proxySignature + "\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x03\xe8\x00\x50"},
		{2, netip.AddrPort{}, six, proxySignature + "\x20\x00\x00\x00"},
	} {
		if got := string(appendProxyHeader(nil, c.version, c.from, c.to)); got != c.want {
			t.Errorf("version %d, %s to %s: %q, want %q", c.version, c.from, c.to, got, c.want)
		}
	}
}

// TestEndpointsAreToldTheClient has a program see its client's address at the beginning of each connection.
func TestEndpointsAreToldTheClient(t *testing.T) {
	told := make(chan string, 10)
	at := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		told <- line
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
		}
	})
	s := model.Service{
		Name: name("web"), Ports: []model.Port{{Number: 80}}, Upstream: &model.Upstream{ProxyHeader: 1},
		Endpoints: []model.Endpoint{{ID: "web-1", Address: at, Plain: true}},
	}
	edge := newLab(t).edge(toAll(), s)
	for range 2 { // each request has a connection of its own
		w := dialRaw(t, edge)
		w.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := w.answer("GET"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		if line, want := <-told, fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d ", w.LocalAddr().(*net.TCPAddr).Port); !strings.HasPrefix(line, want) {
			t.Errorf("%q, want %q and the port", line, want)
		}
	}
}
