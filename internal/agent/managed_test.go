package agent

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// acmeSnapshot has a listener that asks for a certificate of a host.
func acmeSnapshot(host string) *model.Snapshot {
	return &model.Snapshot{Sockets: []model.Socket{{
		Address: netip.MustParseAddrPort("127.0.0.1:8443"), Kind: model.SocketHTTPS,
		Listeners: []model.Listener{{Name: "default/edge/https", Hostname: host, ACME: true}},
	}}}
}

// TestManagedCertificates has who started the proxy answer for the hosts of its snapshots, send something new, hear what
// is in force, and go.
func TestManagedCertificates(t *testing.T) {
	ours, theirs := net.Pipe()
	m := newManaged(ours, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- m.run(t.Context()) }()
	asks := make(chan ManagedAsk, 10)
	lines := json.NewEncoder(theirs)
	go func() {
		defer close(asks)
		in := json.NewDecoder(theirs)
		for {
			var ask ManagedAsk
			if in.Decode(&ask) != nil {
				return
			}
			asks <- ask
		}
	}()
	line := func(id, seq uint64, host, chain string) {
		t.Helper()
		managed := &model.Managed{Certificates: map[string]model.Certificate{host: {Chain: chain, Key: "k"}}}
		if err := lines.Encode(ManagedLine{ID: id, Seq: seq, Managed: managed}); err != nil {
			t.Fatal(err)
		}
	}
	complete := func(host string) (string, uint64) {
		s, id := m.complete(acmeSnapshot(host), slog.New(slog.DiscardHandler))
		if certs := s.Sockets[0].Listeners[0].Certificates; len(certs) == 1 {
			return certs[0].Chain, id
		}
		return "", id
	}
	go func() {
		ask := <-asks
		if ask.Seq != 1 || len(ask.Hosts) != 1 || ask.Hosts[0] != "a.test" {
			t.Errorf("asked for %+v", ask)
		}
		line(1, 1, "a.test", "first")
	}()
	chain, id := complete("a.test")
	if chain != "first" || id != 1 {
		t.Fatalf("%q of line %d", chain, id)
	}
	if <-m.changedOf(); !m.stale() {
		t.Error("what was not said to be in force is")
	}
	m.applied(id)
	m.applied(id) // once is enough
	if ask := <-asks; ask.Applied != 1 || ask.Seq != 0 || m.stale() {
		t.Errorf("said %+v", ask)
	}
	line(2, 1, "a.test", "second")
	<-m.changedOf()
	if chain, id := complete("a.test"); chain != "second" || id != 2 || !m.stale() {
		t.Errorf("%q of line %d", chain, id)
	}
	if chain, id := complete("b.test"); chain != "" || id != 2 { // nobody answers: it goes on in time
		t.Errorf("%q of line %d", chain, id)
	}
	_ = theirs.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	if chain, _ := complete("a.test"); chain != "second" {
		t.Errorf("what there is does not stay: %q", chain)
	}
	for range asks {
	}
	var none *managed
	if s, id := none.complete(acmeSnapshot("a.test"), slog.New(slog.DiscardHandler)); id != 0 || len(s.Sockets[0].Listeners[0].Certificates) != 0 || none.changedOf() != nil {
		t.Error("a proxy without ACME has certificates by it")
	}
}
