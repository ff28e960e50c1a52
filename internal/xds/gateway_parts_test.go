package xds

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

func drawCertificate(t *rapid.T) *model.Certificate {
	if !rapid.Bool().Draw(t, "certificate") {
		return nil
	}
	return &model.Certificate{Chain: label.Draw(t, "chain"), Key: model.Secret(label.Draw(t, "key")), ChainFile: label.Draw(t, "file"), ClientCAFile: label.Draw(t, "ca of it")}
}

// drawSockets makes sockets of a gateway, each at one address or two, with listeners that end TLS or do not.
func drawSockets(t *rapid.T) (out []model.Socket) {
	for i := range rapid.IntRange(0, 3).Draw(t, "sockets") {
		s := model.Socket{
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(8000+i)), Optional: rapid.Bool().Draw(t, "optional"),
			Kind: rapid.SampledFrom([]model.SocketKind{model.SocketHTTP, model.SocketHTTPS, model.SocketTLS, model.SocketPassthrough, model.SocketTCP, model.SocketMixed}).Draw(t, "kind"),
		}
		if rapid.Bool().Draw(t, "proxy protocol") {
			s.ProxyProtocol = &model.ProxyClients{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Direct: true}
		}
		for j := range rapid.IntRange(1, 3).Draw(t, "listeners") {
			name := rapid.SampledFrom([]string{fmt.Sprintf("default/edge/l-%d-%d", i, j), "default/edge/same"}).Draw(t, "name")
			ln := model.Listener{Name: name, Hostname: label.Draw(t, "host"), Ordered: rapid.Bool().Draw(t, "in order"), ACME: rapid.Bool().Draw(t, "acme")}
			if s.Kind == model.SocketMixed {
				ln.Kind = rapid.SampledFrom([]model.SocketKind{model.SocketHTTPS, model.SocketPassthrough}).Draw(t, "its kind")
			}
			if s.KindOf(&ln).TLS() {
				for range rapid.IntRange(0, 2).Draw(t, "certificates") {
					if c := drawCertificate(t); c != nil {
						ln.Certificates = append(ln.Certificates, *c)
					}
				}
				if rapid.Bool().Draw(t, "clients") {
					ln.ClientCA, ln.ClientMode = label.Draw(t, "ca"), model.ClientOptional
				}
				if rapid.Bool().Draw(t, "checks") {
					ln.ClientChecks = &model.ClientChecks{Names: []string{label.Draw(t, "of a client")}, Revoked: label.Draw(t, "revoked")}
				}
				if rapid.Bool().Draw(t, "terms") {
					ln.Terms = &model.TLSTerms{Min: model.TLS13}
				}
			}
			for range rapid.IntRange(0, 6).Draw(t, "rules") {
				r := drawRule(t)
				r.Ref.Name = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "of") // rules of two routes in any order
				ln.Rules = append(ln.Rules, r)
			}
			s.Listeners = append(s.Listeners, ln)
		}
		out = append(out, s)
		if rapid.Bool().Draw(t, "twice") {
			s.Address = netip.AddrPortFrom(netip.IPv6Loopback(), s.Address.Port())
			out = append(out, s)
		}
	}
	return out
}

// gatewayMesh is a mesh with Gateway default/load of 1,000 routes at an HTTPS listener, at two addresses.
func gatewayMesh(revision int64, weight uint32, key string) *Mesh {
	m := mesh(revision, map[string]string{"web": "", "other": ""})
	m.Gateway = func(name model.ServiceName, _ []netip.Addr) []model.Socket {
		if name != svc("load") {
			return nil
		}
		ln := model.Listener{Name: "default/load/https", Hostname: "*.example", Certificates: []model.Certificate{{Chain: strings.Repeat("c", 1500), Key: model.Secret(key)}}}
		for i := range 1000 {
			ref := model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: fmt.Sprintf("route-%d", i), File: "routes.yaml", Line: 20 * i}
			r := model.Rule{
				Ref: ref, Hosts: []string{fmt.Sprintf("h%d.example", i)},
				Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/"}}},
				Backends: []model.Backend{{Service: svc("web"), Port: 80, Weight: 1}},
			}
			if i == 500 {
				r.Backends[0].Weight = weight
			}
			ln.Rules = append(ln.Rules, r)
		}
		return []model.Socket{
			{Address: netip.MustParseAddrPort("127.0.0.1:8443"), Kind: model.SocketHTTPS, Listeners: []model.Listener{ln}},
			{Address: netip.MustParseAddrPort("[::1]:8443"), Kind: model.SocketHTTPS, Optional: true, Listeners: []model.Listener{ln}},
		}
	}
	m.ClientCertificate = func(model.ServiceName) *model.Certificate {
		return &model.Certificate{Chain: "client", Key: "client key"}
	}
	return m
}

func asGateway(n *discoveryv1.Node) { n.Gateway, n.Placement = "default/load", "gateway" }

// TestChangeOfARouteIsSentAlone brings a gateway 1,000 routes, and then one that has changed, and one certificate.
func TestChangeOfARouteIsSentAlone(t *testing.T) {
	b := newBench(t, asGateway)
	b.server.Publish(gatewayMesh(1, 1, "key one"))
	<-b.client.Ready()
	b.wait(1)
	check := func(weight uint32, key model.Secret) {
		t.Helper()
		s := b.last()
		if len(s.Sockets) != 2 || s.ClientCertificate == nil || s.ClientCertificate.Key != "client key" || !slices.Equal(names(s), []string{"web"}) {
			t.Fatalf("%d sockets, services %v", len(s.Sockets), names(s))
		}
		for _, socket := range s.Sockets {
			ln := socket.Listeners[0]
			if len(ln.Rules) != 1000 || ln.Rules[500].Backends[0].Weight != weight || ln.Rules[999].Ref.Name != "route-999" || len(ln.Certificates) != 1 || ln.Certificates[0].Key != key {
				t.Fatalf("%s: %d rules, %v", socket.Address, len(ln.Rules), ln.Certificates)
			}
		}
	}
	check(1, "key one")
	for _, x := range []struct {
		what   string
		weight uint32
		key    model.Secret
		names  []string
	}{
		{"a route", 7, "key one", []string{"gateway/rules/default/load/https/HTTPRoute/default/route-500"}},
		{"a certificate", 7, "key two", []string{"gateway/tls/default/load/https"}},
	} {
		before := b.held()
		revision := b.server.mesh.Revision + 1
		b.server.Publish(gatewayMesh(revision, x.weight, string(x.key)))
		if r := b.wait(revision); r.Current != 1 {
			t.Fatalf("%+v", r)
		}
		check(x.weight, x.key)
		changed, size := differing(before, b.held())
		if !slices.Equal(changed, x.names) {
			t.Errorf("%s: sent %v", x.what, changed)
		}
		whole := gatewayMesh(revision, x.weight, string(x.key)).Gateway(svc("load"), nil)
		t.Logf("a change of %s sends %d bytes; all of the Gateway has %d", x.what, size, len(jsonToWire(whole, false)))
		if size >= 2048 {
			t.Errorf("a change of %s sends %d bytes", x.what, size)
		}
	}
}

// held is what the client holds.
func (b *bench) held() map[string]*discoveryv1.Resource {
	b.client.mu.Lock()
	defer b.client.mu.Unlock()
	return maps.Clone(b.client.held)
}

// differing returns the resources of now that were not there before as they are, and their size on the wire.
func differing(before, now map[string]*discoveryv1.Resource) (out []string, size int) {
	for name, r := range now {
		if before[name] != r { // one that is sent again is another value
			out = append(out, name)
			size += proto.Size(r)
		}
	}
	slices.Sort(out)
	return out, size
}

// TestRowsOfRoutes keeps the order of rules of which one route has some before and some behind those of another.
func TestRowsOfRoutes(t *testing.T) {
	of := func(names ...string) (out []model.Rule) {
		for i, n := range names {
			out = append(out, model.Rule{Ref: model.RuleRef{Kind: "TLSRoute", Namespace: "default", Name: n, Rule: i}})
		}
		return out
	}
	g := newGatewayResources(svc("edge"), &gatewayEdge{sockets: []model.Socket{{Kind: model.SocketTLS, Listeners: []model.Listener{{Name: "default/edge/t", Rules: of("a", "a", "b", "a")}}}}})
	want := []string{"TLSRoute/default/a", "TLSRoute/default/b", "TLSRoute/default/a#2"}
	if got := g.byName[nameGateway].GetGateway().GetListeners()[0].GetRules(); !slices.Equal(got, want) {
		t.Fatalf("rows %v, want %v", got, want)
	}
	parts := map[string]*discoveryv1.GatewayPart{}
	for name, r := range g.byName {
		parts[name] = r.GetGatewayPart()
	}
	edge, err := edgeFromWire(g.byName[nameGateway].GetGateway(), parts)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range edge.sockets[0].Listeners[0].Rules {
		if r.Ref.Rule != i {
			t.Errorf("rule %d is at %d", r.Ref.Rule, i)
		}
	}
	delete(parts, prefixRules+"default/edge/t/TLSRoute/default/a#2")
	if _, err := edgeFromWire(g.byName[nameGateway].GetGateway(), parts); err == nil || !strings.Contains(err.Error(), `a#2" is missing`) {
		t.Errorf("a part that is missing: %v", err)
	}
}

// TestForeignIdentityGetsNoListeners refuses a proxy whose identity is not that of the Gateway, and gives no parts to
// one that is no gateway.
func TestForeignIdentityGetsNoListeners(t *testing.T) {
	for _, name := range []string{"default/edge", "shop/load"} {
		_, err := newStream(&discoveryv1.Node{Id: "x", Gateway: name}, model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "load"}, time.Now())
		if err == nil || !strings.Contains(err.Error(), "of its own identity") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := newBench(t)
	b.server.Publish(gatewayMesh(1, 1, "key one"))
	<-b.client.Ready()
	b.wait(1)
	for name := range b.held() {
		if strings.HasPrefix(name, nameGateway) {
			t.Errorf("a sidecar has %s", name)
		}
	}
	// Who asks for parts by name subscribes to nothing by it.
	st, err := newStream(&discoveryv1.Node{Id: "y"}, model.Identity{Namespace: "default", Account: "load"}, time.Now())
	if err == nil {
		err = st.subscribe(&discoveryv1.DeltaRequest{Subscribe: []string{nameGateway, nameClient, prefixTLS + "default/load/https"}})
	}
	if err != nil || len(st.names) != 0 {
		t.Errorf("subscribed to %v, %v", st.names, err)
	}
}
