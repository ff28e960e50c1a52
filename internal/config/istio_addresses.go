package config

import (
	"hash/fnv"
	"net/netip"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// entryAddresses is how the addresses begin that stand for hosts of ServiceEntries without one: 240.241.0.0/16, beside
// those of registered services (docs/adr/0003).
func entryAddresses() [2]byte { return [2]byte{240, 241} }

// addressEntries gives an address to the services of ServiceEntries that have none, so that a program's connection to
// the host is known by it (Istio, DNS proxying: address auto allocation). It is a hash of the name, which stays as long
// as the service; of two with the same hash the older has it, and the other the next one that is free.
func (c *istioCompiler) addressEntries(resources []Resource) {
	for i := range resources {
		e, ok := resources[i].body.(*istio.ServiceEntry)
		if !ok || e.Address.IsValid() {
			continue
		}
		for _, h := range e.Hosts {
			n := entryName(h.Name, e.Namespace)
			if s := c.mesh.Services[n]; s != nil && c.declared[n] && !s.VIP.IsValid() {
				s.VIP = c.freeAddress(n)
			}
		}
	}
}

// freeAddress finds an address for a service and takes it. It is zero when all are taken.
func (c *istioCompiler) freeAddress(n model.ServiceName) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.String()))
	const all = 1 << 16
	for i, at := 0, h.Sum32()%all; i < all; i, at = i+1, (at+1)%all {
		begin := entryAddresses()
		ip := netip.AddrFrom4([4]byte{begin[0], begin[1], byte(at >> 8), byte(at)})
		if _, taken := c.addresses()[ip]; !taken && at != 0 && at != all-1 {
			c.vips[ip] = n
			return ip
		}
	}
	return netip.Addr{}
}
