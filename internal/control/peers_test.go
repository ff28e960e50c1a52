package control

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.etcd.io/etcd/server/v3/embed"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// outsideEtcd runs a server that is nobody's own, and returns its URL as --store takes it.
func outsideEtcd(t *testing.T) string {
	t.Helper()
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	at := free()
	c := embed.NewConfig()
	c.Dir = t.TempDir()
	c.LogLevel = "error"
	c.ListenClientUrls = []url.URL{{Scheme: "http", Host: at}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: free()}}
	c.AdvertisePeerUrls = c.ListenPeerUrls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return "etcd://" + at
}

// TestTwoControlPlanesServeOneMesh has each know what only the other has.
func TestTwoControlPlanesServeOneMesh(t *testing.T) {
	at := outsideEtcd(t)
	key := filepath.Join(t.TempDir(), "ca.key")
	run := func(name string) *plane {
		return startPlane(t, shortDir(t), func(o *Options) {
			o.Store.URL, o.CAKey, o.Instance = at, key, name
		})
	}
	a, b := run("a"), run("b")
	nothing := func(*model.Snapshot) error { return nil }
	webA, loadB := a.join("web", "web-1", nothing), b.join("load", "load-1", nothing)
	if err := webA.register(a.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	loadB.find(b.ctx(), t, "web")
	applied, err := a.apply(routeYAML, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.wait(applied.GetRevision(), 30*time.Second); got.GetProxies() != 2 || len(got.GetPending()) > 0 {
		t.Fatalf("waiting through a: %v", got)
	}
	if got := b.wait(applied.GetRevision(), 30*time.Second); got.GetProxies() != 2 || len(got.GetPending()) > 0 {
		t.Fatalf("waiting through b: %v", got)
	}
	proxies, err := a.client.ListProxies(a.ctx(), connect.NewRequest(&adminv1.ListProxiesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, p := range proxies.Msg.GetProxies() {
		seen[p.GetNode().GetId()] = p.GetInstance()
	}
	if fmt.Sprint(seen) != "map[load-1:b web-1:a]" {
		t.Fatalf("through a: %v", seen)
	}
	snap, err := a.client.GetSnapshot(a.ctx(), connect.NewRequest(&adminv1.GetSnapshotRequest{Proxy: "load-1"}))
	if err != nil || snap.Msg.GetJson() == "" {
		t.Fatalf("the snapshot of b's proxy through a: %v", err)
	}
	statsOfB(t, a, loadB)
}

// statsOfB reports through b and asks a.
func statsOfB(t *testing.T, a *plane, w *workload) {
	t.Helper()
	s := w.api.Report(a.ctx())
	if err := s.Send(&discoveryv1.ReportRequest{NodeId: "load-1", Series: []*discoveryv1.Series{{
		Direction: "outbound", Source: "default/load", Destination: "default/web", Success: 7, Failure: 3,
	}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	resp, err := a.client.Stat(a.ctx(), connect.NewRequest(&adminv1.StatRequest{GroupBy: []string{"source", "destination"}}))
	if err != nil {
		t.Fatal(err)
	}
	if rows := resp.Msg.GetRows(); len(rows) != 1 || rows[0].GetRequests() != 10 || rows[0].GetSuccessRate() != 0.7 {
		t.Fatalf("stat through a: %v", rows)
	}
}

// TestRestartAfterAKillIsNoSecondControlPlane leaves the record a killed control plane leaves until its lease ends.
func TestRestartAfterAKillIsNoSecondControlPlane(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	p.join("web", "web-1", func(*model.Snapshot) error { return nil })
	killed, err := encode(instanceRecord{Address: p.s.peerAddress(), Started: p.s.started.Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.s.store.Client().Put(p.ctx(), p.s.store.Prefix()+dirInstances+"killed", killed); err != nil {
		t.Fatal(err)
	}
	tick, ctx := time.NewTicker(10*time.Millisecond), p.ctx()
	defer tick.Stop()
	for p.s.state.peers()["killed"].Address == "" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the record is not seen")
		}
	}
	proxies, err := p.client.ListProxies(p.ctx(), connect.NewRequest(&adminv1.ListProxiesRequest{}))
	if err != nil || len(proxies.Msg.GetProxies()) != 1 {
		t.Fatalf("one proxy is listed as %v (%v)", proxies.Msg.GetProxies(), err)
	}
}
