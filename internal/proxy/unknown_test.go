package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// strict is a proxy whose workload may call the service web alone, until allow.
type strict struct {
	*lab
	e      *Engine
	plain  *http.Client // by the proxy as an HTTP proxy
	snap   model.Snapshot
	inside netip.AddrPort
}

func newStrict(t *testing.T) *strict {
	l := newLab(t)
	inside := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "inside ", r.Host) }))
	s := &strict{lab: l, inside: inside}
	s.e = l.run(Options{Node: "load-1", HTTPProxy: loopback, Upstreams: []Upstream{{Service: name("hidden"), Port: 80, Listen: loopback}}})
	s.snap = model.Snapshot{
		Workload: model.Workload{ID: "load-1", Service: name("load"), Outbound: &model.Outbound{
			RegistryOnly: true, Ref: model.PolicyRef{Kind: "Sidecar", Namespace: "default", Name: "strict", File: "s.yaml", Line: 7},
		}},
		Services: []model.Service{{
			Name: name("web"), VIP: netip.MustParseAddr("198.51.100.7"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: inside, Plain: true, Protocol: model.HTTP}},
		}},
	}
	l.apply(s.e, &s.snap)
	proxyURL, err := url.Parse("http://" + s.e.Addrs().HTTPProxy.String())
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(proxyURL)}
	t.Cleanup(tr.CloseIdleConnections)
	s.plain = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	return s
}

// TestRegistryOnly refuses what is no service, by name and by address, with a flag and the Sidecar that says so; services
// are reached by their names and addresses. When it is allowed again, everything goes where it was sent.
func TestRegistryOnly(t *testing.T) {
	s := newStrict(t)
	calls := 0
	outside := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls++; fmt.Fprint(w, "outside") }))
	for _, host := range []string{outside.String(), "nowhere.invalid", "hidden.default", "[2001:db8::1]:80"} {
		resp, got := do(t, s.plain, "GET", "http://"+host+"/", nil)
		if resp.StatusCode != 502 || resp.Header.Get(failureHeader) != flagRegistryOnly || !strings.Contains(got, "Sidecar default/strict (s.yaml:7) says REGISTRY_ONLY") {
			t.Errorf("%s: %s %q %q", host, resp.Status, resp.Header.Get(failureHeader), got)
		}
	}
	for _, host := range []string{"web", "web.default.svc.cluster.local:80", "198.51.100.7"} {
		if resp, got := do(t, s.plain, "GET", "http://"+host+"/", nil); resp.StatusCode != 200 || got != "inside "+host {
			t.Errorf("%s: %s %q", host, resp.Status, got)
		}
	}
	if calls != 0 {
		t.Errorf("%d requests came through", calls)
	}
	open := s.snap
	open.Workload.Outbound = nil
	s.apply(s.e, &open)
	if resp, got := do(t, s.plain, "GET", "http://"+outside.String()+"/", nil); resp.StatusCode != 200 || got != "outside" {
		t.Errorf("allowed: %s %q", resp.Status, got)
	}
}

// TestRegistryOnlyResetsBytes: a connection of bytes to what is no service ends with a reset, and not with an orderly end
// that a program might take for the whole.
func TestRegistryOnlyResetsBytes(t *testing.T) {
	s := newStrict(t)
	c, err := net.Dial("tcp", s.e.Addrs().Upstreams[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte("\x00\x01\x02\x03")); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %q, %v, want a reset", b, err)
	}
}

// TestElsewhere decides by the address of a captured connection, and by the request's authority where it is HTTP.
func TestElsewhere(t *testing.T) {
	s := newStrict(t)
	at := func(registryOnly bool, dst, authority string, opaque bool) string {
		w := &worker{e: s.e, log: s.e.o.Logger}
		snap := s.snap
		if !registryOnly {
			snap.Workload.Outbound = nil
		}
		w.config, _ = compile(&snap, nil, nil)
		x := &exchange{w: w}
		x.o = &origin{kind: fromCapture, dst: netip.MustParseAddrPort(dst)}
		x.req = &(&rawStream{}).head
		x.req.Authority, x.req.Method, x.opaque = authority, "GET", opaque
		if f := x.resolve(); f != nil {
			return f.Flag
		}
		return x.service.Name.Name
	}
	for _, c := range []struct {
		registryOnly   bool
		dst, authority string
		opaque         bool
		want           string
	}{
		{true, "192.0.2.1:80", "nowhere.test", false, flagRegistryOnly},
		{true, "192.0.2.1:80", "web", false, "web"},
		{true, "192.0.2.1:80", "web", true, flagRegistryOnly},
		{true, "240.240.9.9:80", "hidden", false, flagRegistryOnly},
		{true, "198.51.100.7:80", "anything", false, "web"},
		{false, "240.240.9.9:80", "web", false, flagNoService},
	} {
		if got := at(c.registryOnly, c.dst, c.authority, c.opaque); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestElsewhereByAProxy: what is no service goes to the one that passes it on, with its host; services do not.
func TestElsewhereByAProxy(t *testing.T) {
	s := newStrict(t)
	passing := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "passed on ", r.Host) }))
	by := s.snap
	by.Workload.Outbound = &model.Outbound{Proxy: &model.Backend{Service: name("proxy"), Port: 3128}}
	by.Services = append(by.Services[:1:1], model.Service{
		Name: name("proxy"), Ports: []model.Port{{Number: 3128, Protocol: model.HTTP}},
		Endpoints: []model.Endpoint{{ID: "proxy-1", Address: passing, Plain: true, Protocol: model.HTTP, Ports: []uint16{3128}}},
	})
	s.apply(s.e, &by)
	for host, want := range map[string]string{
		"nowhere.invalid": "passed on nowhere.invalid", "192.0.2.1:8080": "passed on 192.0.2.1:8080", "web": "inside web",
	} {
		if resp, got := do(t, s.plain, "GET", "http://"+host+"/", nil); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: %s %q, want %q", host, resp.Status, got, want)
		}
	}
	gone := by
	gone.Services = by.Services[:1]
	s.apply(s.e, &gone)
	if resp, got := do(t, s.plain, "GET", "http://nowhere.invalid/", nil); resp.StatusCode != 500 || resp.Header.Get(failureHeader) != flagBadBackend || !strings.Contains(got, "egressProxy") {
		t.Errorf("without the service: %s %q", resp.Status, got)
	}
}
