package conformance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// plainDial makes golang.org/x/net's transport speak HTTP/2 without TLS.
func plainDial(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// needs skips a test without a program it drives.
func needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

// TestClients has other people's clients ask through a hop.
func TestClients(t *testing.T) {
	server := backend(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s\n", r.Proto) }))
	cert, key := certificate(t)
	plain := hop(t, &gateway{backend: server, protocol: "http"})
	secure := hop(t, &gateway{backend: server, protocol: "http", certificate: cert, key: key})
	http1, https := fmt.Sprintf("http://127.0.0.1:%d/", plain), fmt.Sprintf("https://127.0.0.1:%d/", secure)
	for i, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{"curl", []string{"-sS", "--http1.1", http1}, "hello"},
		{"curl", []string{"-sS", "--http2-prior-knowledge", http1}, "hello"},
		{"curl", []string{"-sSk", "--http1.1", https}, "hello"},
		{"curl", []string{"-sSk", "--http2", "-w", "%{http_version}", https}, "hello HTTP/1.1\n2"},
		{"curl", []string{"-sSk", "--tls-max", "1.2", "-w", "%{ssl_verify_result}", https}, "hello"},
		{"nghttp", []string{http1}, "hello"},
		{"nghttp", []string{"-y", https}, "hello"},
		{"h2load", []string{"-n", "2000", "-c", "10", "-m", "10", http1}, "2000 succeeded, 0 failed"},
		{"h2load", []string{"-n", "2000", "-c", "10", "-m", "10", https}, "2000 succeeded, 0 failed"},
		{"python3", []string{"-c", "import urllib.request,sys; print(urllib.request.urlopen(sys.argv[1]).read().decode())", http1}, "hello"},
		{"python3", []string{"-c", "import urllib.request,sys,ssl; print(urllib.request.urlopen(sys.argv[1],context=ssl._create_unverified_context()).read().decode())", https}, "hello"},
		{"node", []string{"-e", "fetch(process.argv[1]).then(r=>r.text()).then(t=>console.log(t))", http1}, "hello"},
		{"node", []string{"-e", "const h=require('http2');const c=h.connect(process.argv[1],{rejectUnauthorized:false});const q=c.request({':path':'/'});q.on('data',d=>console.log(''+d));q.on('end',()=>c.close());q.end()", https}, "hello"},
		{"openssl", []string{"s_client", "-connect", strings.TrimSuffix(strings.TrimPrefix(https, "https://"), "/"), "-alpn", "h2", "-brief"}, "TLSv1.3"},
	} {
		t.Run(fmt.Sprintf("%s %d", c.program, i), func(t *testing.T) {
			needs(t, c.program)
			cmd := exec.CommandContext(t.Context(), c.program, c.args...)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v\n%s", err, tail(string(out)))
			}
		})
	}
}
