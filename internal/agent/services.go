package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/dns"
	"github.com/weft-mesh/weft/internal/model"
)

// startServices runs what stands beside the engine: name service, admin endpoint, registration, reports.
func (a *Agent) startServices(life context.Context, g *errgroup.Group) error {
	if a.o.DNS.IsValid() {
		s, err := a.nameServer()
		if err != nil {
			return err
		}
		a.dnsAddr = s.Addr().String()
		g.Go(func() error { return s.Run(life) })
	}
	if a.o.Control != "" {
		if len(a.o.Ports) > 0 || a.o.Egress {
			a.registry = newRegistrar(a)
			g.Go(func() error { return a.registry.run(life) })
		}
		g.Go(func() error { return a.reports.run(life) })
	}
	if a.o.Admin == "" {
		return nil
	}
	admin, err := a.newAdmin(life)
	if err != nil {
		return err
	}
	a.adminAt = admin.address
	g.Go(func() error { return admin.run(life) })
	return nil
}

func (a *Agent) nameServer() (*dns.Server, error) {
	upstream, search, err := dns.ReadResolvConf()
	if err != nil {
		a.log.Warn("no name servers: names outside the mesh will not resolve", "error", err)
	}
	return dns.New(dns.Options{
		Listen: a.o.DNS, Namespace: a.namespace(), Lookup: a.resolve, Upstream: upstream, Search: search, Logger: a.log,
	})
}

// resolve finds the address of a service, asking the control plane for it if need be.
func (a *Agent) resolve(ctx context.Context, name model.ServiceName) (vip netip.Addr, known bool, err error) {
	if a.client != nil {
		if known, err = a.client.Lookup(ctx, name); err != nil || !known {
			return vip, known, err
		}
	}
	if s := a.snapshot.Load(); s != nil {
		for i := range s.Services {
			if s.Services[i].Name == name {
				return s.Services[i].VIP, true, nil
			}
		}
	}
	return vip, false, nil
}

// Addresses is what a proxy tells whoever started it, as one line of JSON, when it is ready.
type Addresses struct {
	Inbound   string            `json:"inbound,omitempty"`
	Outbound  string            `json:"outbound,omitempty"`
	HTTPProxy string            `json:"httpProxy,omitempty"`
	DNS       string            `json:"dns,omitempty"`
	Admin     string            `json:"admin,omitempty"`
	Upstreams map[string]string `json:"upstreams,omitempty"` // "ratings.default:9080" -> "127.0.0.1:41234"
	Sockets   map[string]string `json:"sockets,omitempty"`   // of a gateway: as configured -> as bound
}

// announce writes the ready line.
func (a *Agent) announce() error {
	at := a.addresses()
	a.log.Info("ready", "id", a.o.ID, "inbound", at.Inbound, "outbound", at.Outbound, "httpProxy", at.HTTPProxy, "dns", at.DNS)
	if a.o.Ready == nil {
		return nil
	}
	line, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if _, err := a.o.Ready.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("tell that the proxy is ready: %w", err)
	}
	return a.o.Ready.Close()
}

func (a *Agent) addresses() Addresses {
	addrs := a.engine.Addrs()
	text := func(p netip.AddrPort) string {
		if !p.IsValid() {
			return ""
		}
		return p.String()
	}
	at := Addresses{
		Inbound: text(addrs.Inbound), Outbound: text(addrs.Outbound), HTTPProxy: text(addrs.HTTPProxy),
		DNS: a.dnsAddr, Admin: a.adminAt,
	}
	if a.o.gateway() {
		at.Sockets = a.sockets()
	}
	for i, u := range a.o.upstreams(a.namespace()) {
		if at.Upstreams == nil {
			at.Upstreams = map[string]string{}
		}
		at.Upstreams[fmt.Sprintf("%s.%s:%d", u.Service.Name, u.Service.Namespace, u.Port)] = text(addrs.Upstreams[i])
	}
	return at
}

// openAccessLog opens the file that access lines go to; nil for none.
func openAccessLog(name string) (io.WriteCloser, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return nopCloser{os.Stdout}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
