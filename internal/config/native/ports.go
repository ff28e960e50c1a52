package native

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// portSpec is what a policy says of one port of a Service.
type portSpec struct {
	Port          *int64         `json:"port"`
	Timeouts      *portTimeouts  `json:"timeouts"`
	Limits        *limits        `json:"limits"`
	Ejection      *ejection      `json:"ejection"`
	LoadBalancing *loadBalancing `json:"loadBalancing"`
}

type portTimeouts struct {
	Connect duration `json:"connect"`
}

// maxPorts bounds the ports of a policy: each has endpoints, counters and choosers of its own at every proxy.
const maxPorts = 64

// ports reads what a policy says of single ports, in the order of their numbers.
func (c *checker) ports(in []portSpec, f *document.Field) []model.PortUpstream {
	c.atMost(len(in), maxPorts, "ports", f)
	var out []model.PortUpstream
	seen := map[int]bool{}
	for i := range in {
		p, at := &in[i], f.Index(i)
		port := c.integer(p.Port, 1, 65535, 0, at.Key("port"))
		switch {
		case p.Port == nil:
			c.add(at.Key("port"), "is missing", "write the number of a port of the Service")
		case seen[port] && port != 0:
			c.add(at.Key("port"), fmt.Sprintf("the port %d is here twice", port), "write its settings in one item")
		}
		seen[port] = true
		one := model.PortUpstream{Port: uint16(port)}
		if p.Limits != nil {
			one.Connections = c.limits(p.Limits, at.Key("limits"))
		}
		if p.Timeouts != nil {
			one.Connections.ConnectTimeout = c.duration(p.Timeouts.Connect, time.Millisecond, time.Hour, at.Key("timeouts").Key("connect"))
		}
		if p.Ejection != nil {
			one.Ejection = c.ejection(p.Ejection, at.Key("ejection"))
		}
		if p.LoadBalancing != nil {
			one.Balance = c.balance(p.LoadBalancing, at.Key("loadBalancing"))
		}
		if one.Balance.IsZero() && one.Ejection == nil && one.Connections == (model.Connections{}) {
			if !c.problems.Failed() {
				c.warn(at, "says nothing of the port", "write limits, ejection, loadBalancing or timeouts, or remove it")
			}
			continue
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b model.PortUpstream) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

// portFields are the sections that are said of single ports.
func portFields(ports []model.PortUpstream, add func(name string, set bool)) {
	for i := range ports {
		p := &ports[i]
		of := func(name string, set bool) { add(fmt.Sprintf("ports[%d].%s", p.Port, name), set) }
		connectionFields(&p.Connections, of)
		of("ejection", p.Ejection != nil)
		of("loadBalancing", !p.Balance.IsZero())
	}
}
