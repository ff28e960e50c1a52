package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// declareEntries makes the services of ServiceEntries.
func (c *istioCompiler) declareEntries(resources []Resource) {
	workloads := workloadEntries(resources)
	for i := range resources {
		r := &resources[i]
		switch e := r.body.(type) {
		case *istio.Entry:
			c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, nil)}
		case *istio.ServiceEntry:
			var failures []failure
			for _, h := range e.Hosts {
				if f := c.declareEntry(r, e, h, workloads); f != nil {
					failures = append(failures, *f)
				}
			}
			c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, failures)}
		}
	}
}

// declareEntry makes the service of a host, which is new: what is registered under a name stays.
func (c *istioCompiler) declareEntry(r *Resource, e *istio.ServiceEntry, h istio.Host, workloads map[string][]*istio.Entry) *failure {
	n := entryName(h.Name, e.Namespace)
	_, twice := c.entries[h.Name]
	if twice || c.mesh.Services[n] != nil {
		message := "there is a service " + n.String() + " already"
		c.warnOnce(r, h.At, message, "write another host")
		return &failure{ReasonConflicted, message}
	}
	s := &model.Service{Name: n, VIP: e.Address}
	for _, p := range e.Ports {
		s.Ports = append(s.Ports, p.Port)
	}
	if other, ok := c.addresses()[e.Address]; ok && e.Address.IsValid() {
		message := fmt.Sprintf("the address %s is that of service %s", e.Address, other)
		c.warnOnce(r, h.At, message, "write another address, or none")
		return &failure{ReasonConflicted, message}
	}
	c.vips[e.Address] = n
	from := selected(e, h, workloads[e.Namespace])
	if !e.DNS {
		from = slices.DeleteFunc(from, func(w *istio.Entry) bool { return c.isName(r, w) })
	}
	s.Endpoints = entryEndpoints(n, e, from)
	if len(e.Selector) > 0 {
		own, _ := c.selectEndpoints(e.Namespace, e.Selector)
		s.Endpoints = append(s.Endpoints, own...)
	}
	c.mesh.Services[n] = s
	if e.Address.IsValid() {
		c.mesh.addressed = append(c.mesh.addressed, addressedEntry{n, e.ExportTo})
	}
	c.entries[h.Name], c.declared[n] = n, true
	c.certified[n], c.exported[n] = e.Names, e.ExportTo
	return nil
}

// addresses returns the services by the address that their names resolve to.
func (c *istioCompiler) addresses() map[netip.Addr]model.ServiceName {
	if c.vips == nil {
		c.vips = make(map[netip.Addr]model.ServiceName, len(c.mesh.Services))
		for n, s := range c.mesh.Services {
			c.vips[s.VIP] = n
		}
	}
	return c.vips
}

// entryName is the service of a ServiceEntry's host: one of the mesh's own names, or the host itself, in the
// namespace of the entry.
func entryName(host, namespace string) model.ServiceName {
	for _, suffix := range meshSuffixes() {
		if n, ok := istioName(host, namespace); ok && len(host) > len(suffix) && host[len(host)-len(suffix):] == suffix {
			return n
		}
	}
	return model.ServiceName{Namespace: namespace, Name: host}
}

// workloadEntries returns the WorkloadEntries of each namespace.
func workloadEntries(resources []Resource) map[string][]*istio.Entry {
	out := map[string][]*istio.Entry{}
	for i := range resources {
		if e, ok := resources[i].body.(*istio.Entry); ok {
			out[resources[i].Key.Namespace] = append(out[resources[i].Key.Namespace], e)
		}
	}
	return out
}

// isName reports whether an endpoint of an entry that looks no names up has one.
func (c *istioCompiler) isName(r *Resource, w *istio.Entry) bool {
	if w.Host == "" {
		return false
	}
	c.warnOnce(r, nowhere(r), fmt.Sprintf("selects the workload %s, which is a name: it is no endpoint here", clip(w.Host)), "write resolution: DNS")
	return true
}

// selected returns the endpoints of a ServiceEntry: its own, or the WorkloadEntries with all labels of its selector,
// or its host where names are looked up and there is neither.
func selected(e *istio.ServiceEntry, h istio.Host, workloads []*istio.Entry) []*istio.Entry {
	var out []*istio.Entry
	for i := range e.Endpoints {
		out = append(out, &e.Endpoints[i])
	}
	if len(e.Selector) == 0 {
		if e.DNS && len(out) == 0 {
			out = append(out, &istio.Entry{Host: h.Name})
		}
		return out
	}
	for _, w := range workloads {
		all := true
		for k, v := range e.Selector {
			if have, ok := w.Labels[k]; !ok || have != v {
				all = false
			}
		}
		if all {
			out = append(out, w)
		}
	}
	return out
}

// entryKey tells the endpoints of an entry apart.
type entryKey struct {
	endpointKey
	host string
}

// entryEndpoints makes endpoints outside the mesh: one for each address or name, port and protocol.
func entryEndpoints(n model.ServiceName, e *istio.ServiceEntry, from []*istio.Entry) []model.Endpoint {
	found := map[entryKey]*model.Endpoint{}
	for _, w := range from {
		for _, p := range e.Ports {
			number := cmp.Or(w.Ports[p.Name], p.Target, p.Number)
			key := entryKey{endpointKey{at: netip.AddrPortFrom(w.Address, number), protocol: p.Protocol}, ""}
			place := key.at.String()
			if w.Host != "" {
				place = fmt.Sprintf("%s:%d", w.Host, number)
				key = entryKey{endpointKey{protocol: p.Protocol}, place}
			}
			if have := found[key]; have != nil {
				if !slices.Contains(have.Ports, p.Number) {
					have.Ports = append(have.Ports, p.Number)
				}
				continue
			}
			id := n.String() + "/" + place
			if p.Protocol != model.Auto {
				id += "/" + string(p.Protocol)
			}
			found[key] = &model.Endpoint{
				ID: id, Address: key.at, Host: key.host, OneHost: key.host != "" && e.OneHost, Plain: true, Protocol: p.Protocol, Labels: w.Labels, Ports: []uint16{p.Number},
				Locality: w.Locality, Weight: w.Weight,
			}
		}
	}
	var out []model.Endpoint
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b entryKey) int {
		return cmp.Or(compareEndpoints(a.endpointKey, b.endpointKey), cmp.Compare(a.host, b.host))
	}) {
		out = append(out, *found[key])
	}
	return out
}

// nowhere is a place for what has no position but a resource.
func nowhere(r *Resource) gateway.Position { return gateway.Position{Line: r.Line} }
