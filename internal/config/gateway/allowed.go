package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// routeKinds returns the kinds of routes that a listener serves (Gateway API, Listener.allowedRoutes.kinds).
func routeKinds(kind model.SocketKind) []string {
	switch {
	case kind.HTTP():
		return []string{"HTTPRoute", "GRPCRoute"}
	case kind == model.SocketTLS:
		return []string{"TLSRoute", "TCPRoute"}
	case kind == model.SocketPassthrough:
		return []string{"TLSRoute"}
	case kind.Datagrams():
		return []string{"UDPRoute"}
	}
	return []string{"TCPRoute"}
}

// allowedRoutes reads which routes may attach to a listener.
func (c *checker) allowedRoutes(in *v1.AllowedRoutes, out *Listener, f *document.Field) {
	if ns := in.Namespaces; ns != nil {
		out.Admission = c.admission(ns.From, ns.Selector, v1.NamespacesFromSame, f.Key("namespaces"))
	}
	if len(in.Kinds) == 0 || out.Kind == "" {
		return
	}
	kinds := f.Key("kinds")
	c.atMost(len(in.Kinds), maxKinds, "kinds", kinds)
	served := out.Kinds
	out.Kinds = nil
	for i, k := range in.Kinds {
		if deref(k.Group, v1.GroupName) != v1.GroupName || !slices.Contains(served, string(k.Kind)) {
			c.add(kinds.Index(i).Key("kind"), fmt.Sprintf("a listener of this protocol does not serve the kind %q", clip(string(k.Kind))),
				"it serves "+strings.Join(served, " and "))
			continue
		}
		out.Kinds = append(out.Kinds, string(k.Kind))
	}
}

// sortedKeys returns the keys of a map as sorted strings.
func sortedKeys[K ~string, V any](m map[K]V) []string {
	out := make([]string, 0, len(m))
	for k := range maps.Keys(m) {
		out = append(out, string(k))
	}
	slices.Sort(out)
	return out
}

// clip bounds what a message quotes.
func clip(s string) string { return clipTo(s, 80) }

func clipTo(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
