package config

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
)

// Kind describes a kind of resource and the names by which users ask for it.
type Kind struct {
	Name     string   // "HTTPRoute"
	Group    string   // "gateway.networking.k8s.io"; "" is the core group
	Versions []string // accepted; the first is the one written
	Plural   string   // "httproutes"
	Short    []string

	parse func(*document.Document) (any, document.Problems)
}

// APIVersion returns the version in which resources of the kind are written.
func (k Kind) APIVersion() string { return k.apiVersion(k.Versions[0]) }

func (k Kind) apiVersion(version string) string {
	if k.Group == "" {
		return version
	}
	return k.Group + "/" + version
}

// Kinds returns the kinds that can be applied, by name.
func Kinds() []Kind {
	return []Kind{
		{
			Name: "HTTPRoute", Group: "gateway.networking.k8s.io", Versions: []string{"v1", "v1beta1"}, Plural: "httproutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseHTTPRoute(d) },
		},
		{
			Name: "Service", Versions: []string{"v1"}, Plural: "services", Short: []string{"svc"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseService(d) },
		},
	}
}

// LookupKind finds a kind by name, plural or short name in any letter case, with or without its group
// ("httproutes.gateway.networking.k8s.io").
func LookupKind(name string) (Kind, bool) {
	name = strings.ToLower(name)
	for _, k := range Kinds() {
		names := append([]string{strings.ToLower(k.Name), k.Plural}, k.Short...)
		if base, group, ok := strings.Cut(name, "."); ok && group == k.Group && slices.Contains(names, base) {
			return k, true
		}
		if slices.Contains(names, name) {
			return k, true
		}
	}
	return Kind{}, false
}
