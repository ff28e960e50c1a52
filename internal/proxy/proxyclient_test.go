package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// v2 makes a binary header.
func v2(command, family byte, rest string) string {
	b := append([]byte(proxySignature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

const (
	four4 = "\x0a\x00\x00\x01\x0a\x00\x00\x02\x03\xe8\x00\x50"
	six6  = "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x03\xe8\x00\x50"
)

// summed gives a header with a TLV for the checksum the right one.
func summed(header string) string {
	b := []byte(header)
	at := bytes.LastIndex(b, []byte("\x03\x00\x04")) + 3
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

func goodProxyHeaders() map[string]string {
	return map[string]string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\n":                     "10.0.0.1:1000 10.0.0.2:80",
		"PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n":                       "1.1.1.1:0 2.2.2.2:65535",
		"PROXY TCP6 fd00::1 fd00::2 1000 80\r\n":                       "[fd00::1]:1000 [fd00::2]:80",
		"PROXY TCP6 ::ffff:10.0.0.1 fd00::2 1 2\r\n":                   "10.0.0.1:1 [fd00::2]:2",
		"PROXY UNKNOWN\r\n":                                            "",
		"PROXY UNKNOWN " + strings.Repeat("x", maxProxyV1-16) + "\r\n": "",
		v2(0x21, 0x11, four4):                                          "10.0.0.1:1000 10.0.0.2:80",
		v2(0x21, 0x21, six6):                                           "[fd00::1]:1000 [fd00::2]:80",
		v2(0x21, 0x11, four4+"\x01\x00\x02h2\x04\x00\x00"):             "10.0.0.1:1000 10.0.0.2:80",
		summed(v2(0x21, 0x11, four4+"\x03\x00\x04\x00\x00\x00\x00")):   "10.0.0.1:1000 10.0.0.2:80",
		v2(0x20, 0x00, ""):                                             "",
		v2(0x20, 0x11, four4+"not a TLV"):                              "",
		v2(0x21, 0x00, "anything"):                                     "",
		v2(0x21, 0x12, four4):                                          "",
		v2(0x21, 0x31, strings.Repeat("\x00", 216)):                    "",
		v2(0x21, 0x11, four4+"\x04\x0f\xa0"+strings.Repeat("x", 4000)): "10.0.0.1:1000 10.0.0.2:80",
	}
}

func badProxyHeaders() []string {
	return []string{
		"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY", "PROXY \r\n\r\n\r\n\r\n", "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
		"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", "PROXY TCP4 fd00::1 fd00::2 1 2\r\n", "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP6 fe80::1%eth0 fd00::2 1 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", maxProxyV1) + "\r\n",
		proxySignature, v2(0x11, 0x11, four4), v2(0x22, 0x11, four4), v2(0x21, 0x41, four4), v2(0x21, 0x13, four4),
		v2(0x21, 0x11, four4[:11]), v2(0x21, 0x21, four4), v2(0x21, 0x11, four4)[:20],
		v2(0x21, 0x11, four4+"\x01"), v2(0x21, 0x11, four4+"\x01\x00\x09h2"), v2(0x21, 0x11, four4+"\x03\x00\x04abcd"),
		v2(0x21, 0x11, four4+"\x03\x00\x03abc"), v2(0x21, 0x11, four4+strings.Repeat("x", maxProxyHeader)),
	}
}

// TestReadProxyHeader reads headers and not a byte more, and refuses what is none.
func TestReadProxyHeader(t *testing.T) {
	for header, want := range goodProxyHeaders() {
		r := strings.NewReader(header + "GET /")
		from, to, known, err := readProxyHeader(r, make([]byte, 8<<10))
		got := ""
		if known {
			got = from.String() + " " + to.String()
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", header, got, err, want)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "GET /" {
			t.Errorf("%q: %q is left", header, rest)
		}
	}
	for _, header := range badProxyHeaders() {
		if from, to, known, err := readProxyHeader(strings.NewReader(header), make([]byte, 8<<10)); !errors.Is(err, errProxyHeader) || known || from.IsValid() || to.IsValid() {
			t.Errorf("%q: %s %s %v %v", header, from, to, known, err)
		}
	}
}

// FuzzReadProxyHeader wants what is taken to be written by us the same way, and no more read than the header.
func FuzzReadProxyHeader(f *testing.F) {
	for header := range goodProxyHeaders() {
		f.Add([]byte(header + "GET /"))
	}
	for _, header := range badProxyHeaders() {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		from, to, known, err := readProxyHeader(r, make([]byte, 8<<10))
		used := len(in) - r.Len()
		switch {
		case used > maxProxyHeader:
			t.Fatalf("%d bytes were read", used)
		case err != nil || !known:
			if from.IsValid() || to.IsValid() {
				t.Fatalf("addresses without a client: %s %s", from, to)
			}
			return
		}
		for version := 1; version <= 2; version++ {
			again, here, ok, err := readProxyHeader(bytes.NewReader(appendProxyHeader(nil, version, from, to)), make([]byte, 8<<10))
			if err != nil || !ok || again != from || here != to {
				t.Fatalf("version %d: %s %s become %s %s (%v)", version, from, to, again, here, err)
			}
		}
	})
}

// announced is a client's connection that begins with a header.
func announced(t testing.TB, at netip.AddrPort, header string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, header); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientsBehindABalancer has the client of the header be the client in every respect, on listeners of all kinds.
func TestClientsBehindABalancer(t *testing.T) {
	l := newLab(t)
	program := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"))
	}))
	clients := &model.ProxyClients{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	rules := toWeb()
	rules[0].Policy = &model.Policy{Limits: []model.RateLimit{{Name: "each", Requests: 2, Per: time.Hour, Key: model.LimitKey{Source: true}}}}
	secure := netip.MustParseAddrPort("127.0.0.3:0")
	s := edgeOf(program, model.HTTP,
		model.Socket{Address: loopback, Kind: model.SocketHTTP, ProxyProtocol: clients, Listeners: []model.Listener{{Name: "http", Rules: rules}}},
		model.Socket{Address: secure, Kind: model.SocketHTTPS, ProxyProtocol: clients, Listeners: []model.Listener{
			{Name: "https", Certificates: []model.Certificate{webCertificate(t, "a.test", 1)}, Rules: toWeb()},
		}})
	var log buffer
	e := l.run(Options{Node: "gateway", AccessLog: &log})
	l.apply(e, s)
	at := e.Sockets()[loopback]
	get := func(c net.Conn) (int, string) {
		t.Helper()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for i, want := range []int{200, 200, 429} { // the limit is the client's, not the balancer's
		if code, body := get(announced(t, at, "PROXY TCP4 192.0.2.1 192.0.2.9 1000 80\r\n")); code != want || code == 200 && body != "192.0.2.1" {
			t.Errorf("request %d: %d %q", i, code, body)
		}
	}
	if code, body := get(announced(t, at, v2(0x21, 0x21, six6))); code != 200 || body != "fd00::1" {
		t.Errorf("another client: %d %q", code, body)
	}
	if code, body := get(announced(t, at, v2(0x20, 0, ""))); code != 200 || body != "127.0.0.1" {
		t.Errorf("the balancer's own connection: %d %q", code, body)
	}
	if code, body := get(announced(t, at, "")); code != 0 {
		t.Errorf("no header: %d %q", code, body)
	}
	secured := tls.Client(announced(t, e.Sockets()[secure], v2(0x21, 0x11, four4)), &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"})
	if code, body := get(secured); code != 200 || body != "10.0.0.1" {
		t.Errorf("under TLS: %d %q", code, body)
	}
	eventually(t, "the access log has the clients", func() bool {
		text := log.String()
		return strings.Contains(text, `"source_address":"192.0.2.1:1000"`) && strings.Contains(text, `"source_address":"10.0.0.1:1000"`)
	})
	// Where nobody here is trusted: refused, or served as they are.
	for _, direct := range []bool{false, true} {
		next := *s // the engine has s
		next.Sockets = slices.Clone(s.Sockets)
		next.Sockets[0].ProxyProtocol = &model.ProxyClients{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Direct: direct}
		l.apply(e, &next)
		if code, body := get(announced(t, at, "")); (code == 200) != direct {
			t.Errorf("direct %v: %d %q", direct, code, body)
		}
		if code, body := get(announced(t, at, "PROXY TCP4 192.0.2.7 192.0.2.9 1000 80\r\n")); code == 200 {
			t.Errorf("direct %v, a header of a stranger is believed: %q", direct, body)
		}
	}
}

// TestProxyHeaderPassesThrough has a TCP listener take the header and its endpoint be told the same client.
func TestProxyHeaderPassesThrough(t *testing.T) {
	told := make(chan string, 1)
	at := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		more, _ := r.ReadString('\n')
		told <- line + more
	})
	s := edgeOf(at, model.TCP, model.Socket{
		Address: loopback, Kind: model.SocketTCP, Listeners: []model.Listener{{Name: "tcp", Rules: toWeb()}},
		ProxyProtocol: &model.ProxyClients{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	})
	s.Services[0].Upstream = &model.Upstream{ProxyHeader: 1}
	_, gate := newLab(t).gateway(s, 1)
	announced(t, gate, v2(0x21, 0x11, four4)+"hello\n")
	select {
	case got := <-told:
		if got != "PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\nhello\n" {
			t.Errorf("%q", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the endpoint hears nothing")
	}
}
