package proxy

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// app answers with what it got.
func app() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-method", r.Method)
		w.Header().Set("x-proto", r.Proto)
		for k := range r.Header {
			if strings.HasPrefix(strings.ToLower(k), "weft-") {
				w.Header().Set("x-leak", k)
			}
		}
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		for range 64 {
			_, _ = w.Write(chunk)
		}
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "x-checksum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("x-checksum", "42")
	})
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	return mux
}

func h1Client(t testing.TB) *http.Client {
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func h2Client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// routes are the ways a request can take: client's version, hop or pair, program's version.
func routes(t *testing.T, f func(t *testing.T, c *http.Client, url string)) {
	for _, client := range []string{"h1", "h2"} {
		for _, shape := range []string{"hop", "pair"} {
			for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2, model.Auto} {
				t.Run(fmt.Sprintf("%s-%s-%s", client, shape, protocol), func(t *testing.T) {
					l := newLab(t)
					c := h1Client(t)
					if client == "h2" {
						c = h2Client(t)
					}
					backend := server(t, app())
					at := backend
					if shape == "hop" {
						at, _ = l.hop(backend, protocol)
					} else {
						at = l.pair(backend, protocol).at
					}
					f(t, c, "http://"+at.String())
				})
			}
		}
	}
}

func do(t *testing.T, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestRequests(t *testing.T) {
	routes(t, func(t *testing.T, c *http.Client, url string) {
		for i := range 20 {
			want := strings.Repeat("x", i*i)
			resp, got := do(t, c, "POST", url+"/echo", strings.NewReader(want))
			if resp.StatusCode != 200 || got != want || resp.Header.Get("x-method") != "POST" {
				t.Fatalf("request %d: %s, %d bytes, want %d", i, resp.Status, len(got), len(want))
			}
			if leak := resp.Header.Get("x-leak"); leak != "" {
				t.Fatalf("the program sees the field %s", leak)
			}
		}
		if resp, _ := do(t, c, "HEAD", url+"/big", nil); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		if resp, _ := do(t, c, "GET", url+"/nowhere", nil); resp.StatusCode != 404 {
			t.Fatal(resp.Status)
		}
	})
}

func TestBodies(t *testing.T) {
	routes(t, func(t *testing.T, c *http.Client, url string) {
		body := make([]byte, 5<<20)
		_, _ = rand.Read(body)
		want := fmt.Sprintf("%d %x <nil>", len(body), sha256.Sum256(body))
		if _, got := do(t, c, "POST", url+"/sum", bytes.NewReader(body)); got != want {
			t.Fatalf("known length: got %q, want %q", got, want)
		}
		if _, got := do(t, c, "POST", url+"/sum", io.MultiReader(bytes.NewReader(body))); got != want {
			t.Fatalf("unknown length: got %q, want %q", got, want)
		}
		if _, got := do(t, c, "GET", url+"/big", nil); len(got) != 4<<20 {
			t.Fatalf("got %d bytes: %.200q", len(got), got)
		}
		resp, got := do(t, c, "GET", url+"/trailers", nil)
		if got != "body" || resp.Trailer.Get("x-checksum") != "42" {
			t.Fatalf("body %q, trailers %v", got, resp.Trailer)
		}
		if resp, _ := do(t, c, "POST", url+"/early", bytes.NewReader(body)); resp.StatusCode != 403 {
			t.Fatal(resp.Status)
		}
	})
}

func TestTCPThroughThePair(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, "220 ready\r\n") // the server speaks first
				b, _ := io.ReadAll(c)                     // until the client's half-close
				_, _ = c.Write(bytes.ToUpper(b))
			}()
		}
	}()
	for _, protocol := range []model.Protocol{model.TCP, model.Auto} {
		t.Run(string(protocol), func(t *testing.T) {
			p := newLab(t).pair(addrOf(t, ln), protocol)
			for range 2 {
				c, err := net.Dial("tcp", p.at.String())
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				banner := make([]byte, 11)
				if _, err := io.ReadFull(c, banner); err != nil {
					t.Fatalf("banner: %v", err)
				}
				_, _ = io.WriteString(c, "half close")
				_ = c.(*net.TCPConn).CloseWrite()
				got, err := io.ReadAll(c)
				if err != nil || string(got) != "HALF CLOSE" {
					t.Fatalf("got %q, %v", got, err)
				}
				c.Close()
			}
		})
	}
}

func TestNoEndpoint(t *testing.T) {
	l := newLab(t)
	at, e := l.hop(loopback, model.HTTP)
	l.apply(e, &model.Snapshot{Services: []model.Service{{Name: name("web"), Ports: []model.Port{{Number: 80}}}}})
	resp, body := do(t, h1Client(t), "GET", "http://"+at.String()+"/", nil)
	if resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagNoEndpoints || !strings.Contains(body, "default/web") {
		t.Fatalf("%s %v %q", resp.Status, resp.Header, body)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	l := newLab(t)
	at, _ := l.hop(server(t, app()), model.HTTP)
	for raw, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n": "400",
		"GET / HTTP/1.1\r\n\r\n":            "400",
		"GET / HTTP/3.1\r\nHost: a\r\n\r\n": "505",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70<<10) + "\r\n\r\n": "431",
	} {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, raw)
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 "+want) {
			t.Errorf("%.60q: got %.80q, %v, want %s", raw, got, err, want)
		}
		c.Close()
	}
}

// TestExplicitProxy has a program use the engine as its HTTP proxy: by absolute-form requests, and by CONNECT.
func TestExplicitProxy(t *testing.T) {
	l := newLab(t)
	backend := server(t, app())
	p := l.pair(backend, model.HTTP)
	s := *p.client.workers[0].config.snapshot
	e := l.run(Options{Node: "load-2", TLS: l.identity("load"), HTTPProxy: loopback})
	l.apply(e, &s)
	proxyURL, err := url.Parse("http://" + e.Addrs().HTTPProxy.String())
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(proxyURL)}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	for _, host := range []string{"web", "web.default", "web.default.mesh:80", backend.String()} {
		if resp, got := do(t, c, "POST", "http://"+host+"/echo", strings.NewReader("hi")); resp.StatusCode != 200 || got != "hi" {
			t.Errorf("%s: %s %q", host, resp.Status, got)
		}
	}
	if resp, got := do(t, c, "GET", "http://nowhere.invalid/", nil); resp.StatusCode != 502 || resp.Header.Get(failureHeader) != flagNoService {
		t.Errorf("unknown host: %s %q", resp.Status, got)
	}

	conn, err := net.Dial("tcp", proxyURL.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %v %v", resp, err)
	}
	_, _ = io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: web\r\n\r\n")
	if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("within the tunnel: %v %v", resp, err)
	}
	resp.Body.Close()
}
