package istio

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ParseVirtualService checks a VirtualService. When the problems Failed it must not be used.
func ParseVirtualService(d *document.Document) (*VirtualService, document.Problems) {
	c, in, ok := parse[virtualService](d)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &VirtualService{Namespace: d.Namespace}
	if d.Has(spec.Key("hosts")) && len(in.Hosts) > 0 {
		out.Hosts = c.hosts(in.Hosts, spec.Key("hosts"))
	} else if len(in.Gateways) > 0 {
		c.add(spec.Key("hosts"), "is missing", "only a VirtualService that others delegate to has no hosts, and that has no gateways either")
	}
	out.Gateways = c.gateways(in.Gateways, spec.Key("gateways"))
	if len(in.Gateways) == 0 {
		out.Gateways = []string{Mesh}
	}
	c.everyHost(out, spec.Key("hosts"))
	out.ExportTo = c.exportTo(in.ExportTo, spec.Key("exportTo"))
	if len(in.HTTP)+len(in.TLS)+len(in.TCP) == 0 {
		c.add(spec, "has no routes", "write http, tls or tcp")
	}
	c.atMost(len(in.HTTP)+len(in.TLS)+len(in.TCP), maxRoutes, "routes", spec)
	for i := range in.HTTP {
		out.HTTP = append(out.HTTP, c.httpRoute(&in.HTTP[i], spec.Key("http").Index(i), i, len(out.Hosts) == 0))
	}
	for i := range in.TLS {
		out.Streams = append(out.Streams, c.tlsRoute(&in.TLS[i], spec.Key("tls").Index(i), i)...)
	}
	for i := range in.TCP {
		out.Streams = append(out.Streams, c.tcpRoute(&in.TCP[i], spec.Key("tcp").Index(i), i)...)
	}
	return out, c.problems
}

// everyHost refuses "*" for sidecars, as Istio does: it would take every service of the mesh.
func (c *checker) everyHost(v *VirtualService, f *document.Field) {
	for _, h := range v.Hosts {
		if h.Name == "*" && slices.Contains(v.Gateways, Mesh) {
			c.add(f, `"*" is for gateways, and mesh is among those of this VirtualService`, "name the services, or the Gateway in gateways")
		}
	}
}

// gateways reads names of gateways: Mesh, "name" of the document's namespace, or "namespace/name".
func (c *checker) gateways(names []string, f *document.Field) []string {
	c.atMost(len(names), maxItems, "gateways", f)
	var out []string
	for i, n := range names {
		if n == Mesh {
			out = append(out, n)
			continue
		}
		ns, name, ok := strings.Cut(n, "/")
		if !ok {
			ns, name = c.doc.Namespace, n
		}
		if ns == "." {
			ns = c.doc.Namespace
		}
		if document.CheckLabel(ns) != "" || document.CheckSubdomain(name) != "" {
			c.add(f.Index(i), fmt.Sprintf("%q names no gateway", clip(n)), `write "mesh", the name of a Gateway, or namespace/name`)
			continue
		}
		out = append(out, ns+"/"+name)
	}
	return out
}

func (c *checker) ref(f *document.Field, index int) model.RuleRef {
	return model.RuleRef{
		Kind: c.doc.Kind, Namespace: c.doc.Namespace, Name: c.doc.Name, Rule: index,
		File: c.doc.File, Line: c.doc.LineOf(f),
	}
}

// httpRoute reads a rule. child says that the VirtualService is one that others delegate to.
func (c *checker) httpRoute(in *httpRoute, f *document.Field, index int, child bool) HTTPRoute {
	out := HTTPRoute{Rule: model.Rule{Ref: c.ref(f, index)}}
	c.atMost(len(in.Match), maxMatches, "matches", f.Key("match"))
	for i := range in.Match {
		m, gateways := c.match(&in.Match[i], f.Key("match").Index(i))
		out.Rule.Matches = append(out.Rule.Matches, m)
		out.Gateways = append(out.Gateways, gateways)
	}
	if len(in.Match) == 0 {
		out.Gateways = [][]string{nil}
	}
	c.action(in, &out, f, child)
	if in.Headers != nil {
		at := f.Key("headers")
		out.Rule.Request = c.headers(in.Headers.Request, at.Key("request"))
		out.Rule.Response = c.headers(in.Headers.Response, at.Key("response"))
	}
	if in.CorsPolicy != nil {
		out.Rule.Filters.CORS = c.cors(in.CorsPolicy, f.Key("corsPolicy"))
	}
	c.mirrors(in, &out, f)
	out.Rule.Policy = c.policy(in, f)
	out.said = said{retries: in.Retries != nil, timeout: in.Timeout != nil}
	return out
}

// action reads what becomes of a request: destinations, a redirect, an answer, or a delegate's rules.
func (c *checker) action(in *httpRoute, out *HTTPRoute, f *document.Field, child bool) {
	if !c.oneOf(f, "route", "redirect", "directResponse", "delegate") {
		return
	}
	switch {
	case in.Delegate != nil && child:
		c.add(f.Key("delegate"), "is in a VirtualService that others delegate to", "one level is all there is, as in Istio")
	case in.Delegate != nil:
		out.Delegate = c.delegate(in.Delegate, f.Key("delegate"))
	case in.Redirect != nil:
		out.Rule.Filters.Redirect = c.redirect(in.Redirect, out, f.Key("redirect"))
	case in.DirectResponse != nil:
		out.Rule.Filters.Direct = c.direct(in.DirectResponse, f.Key("directResponse"))
	case len(in.Route) == 0:
		c.add(f, "says nothing of what becomes of its requests", "write route, redirect, directResponse or delegate")
	}
	c.atMost(len(in.Route), maxItems, "destinations", f.Key("route"))
	weights := make([]int32, len(in.Route))
	for i := range in.Route {
		at := f.Key("route").Index(i)
		out.Backends = append(out.Backends, c.destination(&in.Route[i].Destination, at.Key("destination")))
		weights[i] = in.Route[i].Weight
		b := model.Backend{}
		if h := in.Route[i].Headers; h != nil {
			b.Request = c.headers(h.Request, at.Key("headers").Key("request"))
			b.Response = c.headers(h.Response, at.Key("headers").Key("response"))
		}
		out.Rule.Backends = append(out.Rule.Backends, b)
	}
	c.weights(weights, out.Rule.Backends, f.Key("route"))
	if in.Rewrite != nil {
		c.rewrite(in.Rewrite, out, f.Key("rewrite"))
	}
}

// weights shares a rule's requests. A single destination without a weight takes them all.
func (c *checker) weights(in []int32, out []model.Backend, f *document.Field) {
	total := int64(0)
	for i, w := range in {
		if w < 0 || w > 1_000_000 {
			c.add(f.Index(i).Key("weight"), fmt.Sprintf("wants an integer 0 to 1000000, has %d", w), "")
			continue
		}
		out[i].Weight = uint32(w)
		total += int64(w)
	}
	switch {
	case total > 0 || len(in) == 0:
	case len(in) == 1:
		out[0].Weight = 1
	default:
		c.add(f, "has several destinations, and no weight", "give each a weight")
	}
}

func (c *checker) destination(in *destination, f *document.Field) Destination {
	out := Destination{Host: strings.ToLower(in.Host), Subset: in.Subset, At: c.position(f.Key("host"))}
	if strings.HasPrefix(in.Host, "*") {
		c.add(f.Key("host"), fmt.Sprintf("%q has a wildcard", clip(in.Host)), "name one service")
	} else {
		c.host(in.Host, f.Key("host"))
	}
	if in.Port != nil {
		out.Port = c.wantedPort(in.Port.Number, f.Key("port").Key("number"))
	}
	return out
}

func (c *checker) delegate(in *delegate, f *document.Field) *Delegate {
	out := &Delegate{Name: ObjectName{Namespace: in.Namespace, Name: in.Name}, At: c.position(f.Key("name"))}
	if in.Namespace == "" {
		out.Name.Namespace = c.doc.Namespace
	}
	if document.CheckLabel(out.Name.Namespace) != "" || document.CheckSubdomain(in.Name) != "" {
		c.add(f, fmt.Sprintf("%q names no VirtualService", clip(out.Name.String())), "write name, and namespace if it is another")
	}
	return out
}
