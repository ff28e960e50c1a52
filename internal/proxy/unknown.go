package proxy

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/weft-mesh/weft/internal/model"
)

// What a program calls and is no service that its workload sees: it goes where the program sends it, or is refused where
// a Sidecar says REGISTRY_ONLY (Istio's BlackHoleCluster: 502, or a reset).

// registryOnly reports whether programs may call services alone.
func (c *config) registryOnly() bool {
	out := c.snapshot.Workload.Outbound
	return out != nil && out.RegistryOnly
}

// resolveElsewhere finds who is to answer on an address that is no service's. It comes here because connections to
// every address are captured, or a moment ago were; or it is a virtual address of a service that is not seen here.
func (x *exchange) resolveElsewhere() *Failure {
	at := x.o.dst
	if !x.opaque && x.w.config.registryOnly() {
		// The program has the address of a host from elsewhere than our name service.
		if x.service = x.named(); x.service != nil {
			return nil
		}
	}
	if isVirtual(at.Addr()) || x.w.config.registryOnly() {
		return x.unknown(at.String())
	}
	return x.outside(at.String())
}

// isVirtual reports whether an address can only be one that the mesh gives to services: it is in 240.0.0.0/4, which is
// routed nowhere (RFC 1112, section 4).
func isVirtual(ip netip.Addr) bool {
	return ip.Is4() && ip.As4()[0] >= 240
}

// compileElsewhere finds the service that calls go to which are for none (Istio, Sidecar: egressProxy).
func (c *config) compileElsewhere(out *model.Outbound) error {
	if out == nil || out.Proxy == nil {
		return nil
	}
	b := &backend{Backend: out.Proxy}
	if c.elsewhere = b; b.Invalid == "" {
		b.service = c.byName[b.Service]
	}
	if b.service == nil {
		return nil
	}
	b.plan = b.service.plan
	return c.resolveBackend(b, clientPolicy(b.service.Service))
}

// passOn sends the request to the service that knows how it goes on.
func (x *exchange) passOn(b *backend) *Failure {
	if b.service == nil {
		why := b.Invalid
		if why == "" {
			why = fmt.Sprintf("service %s does not exist", b.Service)
		}
		return &Failure{"route", 500, flagBadBackend, fmt.Errorf("egressProxy of %s: %s", x.w.config.snapshot.Workload.Outbound.Ref, why)}
	}
	x.service, x.backend = b.service, b
	x.aim(b.service, b.pool, b.plan, cmp.Or(b.Port, x.port))
	return nil
}

// outside sends the request to a host outside the mesh, or to who knows how it goes on.
func (x *exchange) outside(authority string) *Failure {
	if b := x.w.config.elsewhere; b != nil {
		return x.passOn(b)
	}
	ep, err := x.w.external(authority, x.port, x.down.HTTP2())
	if err != nil {
		return &Failure{"route", 502, flagNoService, err}
	}
	x.fixed = ep
	return nil
}

// unknown refuses what is no service.
func (x *exchange) unknown(called string) *Failure {
	if !x.w.config.registryOnly() {
		return &Failure{"route", 502, flagNoService, fmt.Errorf("%s is no service known here", called)}
	}
	ref := x.w.config.snapshot.Workload.Outbound.Ref
	return &Failure{"route", 502, flagRegistryOnly, fmt.Errorf("%s is no service that this workload may call, and %s says REGISTRY_ONLY", called, ref)}
}

// addressed finds the service that an authority names by its address; nil is none.
func (c *config) addressed(authority string) *service {
	ip, err := netip.ParseAddr(hostOf(authority))
	if err != nil {
		return nil
	}
	return c.byVIP[ip]
}
