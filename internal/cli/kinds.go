package cli

import (
	"slices"
	"strings"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

// The kinds that no document declares: what runs.
const (
	kindService  = "Service"
	kindEndpoint = "Endpoint"
	kindProxy    = "Proxy"
)

// kind is a kind of resource as users name it. The control plane knows more kinds by their own names;
// these are the ones that complete and that have a table of their own.
type kind struct {
	name    string
	plural  string
	aliases []string
}

func kinds() []kind {
	return []kind{
		{"HTTPRoute", "httproutes", nil},
		{kindService, "services", []string{"svc"}},
		{kindEndpoint, "endpoints", []string{"ep"}},
		{kindProxy, "proxies", []string{"px"}},
	}
}

// findKind returns the canonical name of a kind, or s itself when only the control plane may know it.
func findKind(s string) string {
	lower := strings.ToLower(s)
	lower, _, _ = strings.Cut(lower, ".") // httproutes.gateway.networking.k8s.io
	for _, k := range kinds() {
		if lower == strings.ToLower(k.name) || lower == k.plural || slices.Contains(k.aliases, lower) {
			return k.name
		}
	}
	return s
}

// pluralKind is how commands name a kind.
func pluralKind(name string) string {
	for _, k := range kinds() {
		if k.name == name {
			return k.plural
		}
	}
	return name
}

// qualified returns "httproute.gateway.networking.k8s.io/reviews", kubectl's name of a resource.
func qualified(r *adminv1.ResourceRef) string {
	s := strings.ToLower(r.GetKind())
	if group, _, ok := strings.Cut(r.GetApiVersion(), "/"); ok {
		s += "." + group
	}
	return word(s + "/" + r.GetName())
}

// splitRef reads the arguments KIND, KIND NAME..., or KIND/NAME.
func splitRef(args []string) (kindName string, names []string) {
	if len(args) == 0 {
		return "", nil
	}
	if k, name, ok := strings.Cut(args[0], "/"); ok && len(args) == 1 {
		return findKind(k), []string{name}
	}
	return findKind(args[0]), args[1:]
}
