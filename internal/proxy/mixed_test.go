package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestOneSocketForAllUnderTLS has listeners for HTTPS, for bytes under TLS and for connections that are passed through on
// one socket: the server name of the hello tells them apart, also when it comes in pieces.
func TestOneSocketForAllUnderTLS(t *testing.T) {
	plain := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		_, _ = io.WriteString(c, "plain "+line)
	})
	service := func(n string, ep model.Endpoint) model.Service {
		ep.ID, ep.Plain = n+"-1", true
		return model.Service{Name: name(n), Ports: []model.Port{{Number: 80, Protocol: ep.Protocol}}, Endpoints: []model.Endpoint{ep}}
	}
	listener := func(n string, kind model.SocketKind, serial int64) model.Listener {
		ln := model.Listener{
			Name: n, Kind: kind, Hostname: n + ".example",
			Rules: []model.Rule{{Backends: []model.Backend{{Service: name(n), Port: 80, Weight: 1}}}},
		}
		if serial > 0 {
			ln.Certificates = []model.Certificate{webCertificate(t, ln.Hostname, serial)}
		}
		return ln
	}
	_, at := newLab(t).gateway(&model.Snapshot{
		Services: []model.Service{
			service("web", model.Endpoint{Address: server(t, http.HandlerFunc(saw)), Protocol: model.HTTP}),
			service("bytes", model.Endpoint{Address: plain, Protocol: model.TCP}),
			service("pass", model.Endpoint{Address: secureProgram(t, webCertificate(t, "pass.example", 3), true, nil), Protocol: model.TCP}),
		},
		Sockets: []model.Socket{{Address: loopback, Kind: model.SocketMixed, Listeners: []model.Listener{
			listener("web", model.SocketHTTPS, 1), listener("bytes", model.SocketTLS, 2), listener("pass", model.SocketPassthrough, 0),
		}}},
	}, 2)
	for host, serial := range map[string]int64{"web.example": 1, "pass.example": 3} {
		for _, http2 := range []bool{false, true} {
			c := tlsClient(t, at, host, http2)
			for range 2 { // the second on the same connection
				resp, err := c.Get("https://" + host + "/")
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != serial || resp.StatusCode != 200 || (resp.ProtoMajor == 2) != http2 {
					t.Errorf("%s: certificate %d, %d %q over %s", host, got, resp.StatusCode, body, resp.Proto)
				}
			}
		}
	}
	if got, serial := spoken(t, at.String(), "bytes.example"); got != "plain hi\n" || serial != 2 {
		t.Errorf("bytes: %q by certificate %d", got, serial)
	}
	resp, err := tlsClient(t, at, "web.example", false).Get("https://pass.example/")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("the host of another listener: %d", resp.StatusCode)
	}
	for _, host := range []string{"other.example", ""} {
		if c, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, ServerName: host}); err == nil {
			c.Close()
			t.Errorf("the name %q of no listener was served", host)
		}
	}
	raw := dialRaw(t, at)
	raw.send("GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
	if b, _ := io.ReadAll(raw.r); len(b) > 0 {
		t.Errorf("bytes that are no TLS got %q", b)
	}
	h := hello(t, "web.example")
	raw = dialRaw(t, at)
	_ = raw.SetDeadline(time.Now().Add(patience))
	raw.send(h[:7])
	raw.send(h[7:])
	first := make([]byte, 1)
	if _, err := io.ReadFull(raw.r, first); err != nil || first[0] != recordHandshake {
		t.Errorf("a hello in pieces got %q, %v", first, err)
	}
}

// spoken says a line under TLS and returns what is answered until the end, and the serial number of the certificate.
func spoken(t *testing.T, at, host string) (string, int64) {
	t.Helper()
	c, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, ServerName: host})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(c, "hi")
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(got), c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}
