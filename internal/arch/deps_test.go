package arch

import (
	"slices"
	"strings"
	"testing"
)

// rule bounds what the packages of a room import directly.
type rule struct {
	room   string
	only   []string // of our own packages, only these; the room itself is always allowed
	std    bool     // and of others only the standard library
	reason string
}

func rules() []rule {
	leaf := []string{"internal/model", "internal/message"}
	return []rule{
		{"internal/model", nil, true, "the model is what everyone shares, weft-proxy included; what it imports, everyone pays for"},
		{"internal/message", nil, true, "the message is on the path of every request; it has no business with anything else"},
		{"internal/route", leaf, false, "a decision is a pure function of the model and the request, so that explain and dry-run call the same one"},
		{"internal/authz", leaf, false, "a decision is a pure function of the model and the request, so that explain and dry-run call the same one"},
		{"internal/balance", leaf, false, "a decision is a pure function of the model and the request, so that explain and dry-run call the same one"},
		{"internal/resilience", leaf, false, "a decision is a pure function of the model and the request, so that explain and dry-run call the same one"},
		{"internal/envoyrpc", nil, true, "it is linked by weft-proxy, and there so that no protobuf library is"},
		{"internal/h1", []string{"internal/message"}, false, "a codec turns bytes into messages and knows no policy"},
		{"internal/h2", []string{"internal/message"}, false, "a codec turns bytes into messages and knows no policy"},
		{"internal/config", []string{"internal/model", "internal/message", "internal/route"}, false, "compile and scope are pure; validation asks the leaf that will decide"},
		{"internal/cli", []string{"api", "internal/model"}, false, "the command line reaches the control plane through the API only, as any other client does"},
		{"internal/dashboard", []string{"api", "internal/model"}, false, "the dashboard reaches the control plane through the API only, as any other client does"},
	}
}

func TestRoomsImportWhatTheyMay(t *testing.T) {
	standard := map[string]bool{}
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}
	for _, p := range list(t, "./...") {
		for _, r := range rules() {
			if !within(p.name(), r.room) {
				continue
			}
			for _, imp := range p.Imports {
				ours := strings.HasPrefix(imp, module)
				if ours && !within(short(imp), append(r.only, r.room)...) || !ours && r.std && !standard[imp] {
					t.Errorf("%s imports %s: %s", p.name(), short(imp), r.reason)
				}
			}
		}
	}
}

// The data plane and the control plane meet on the wire and nowhere else: neither may link the other, not
// even through a third package.
func TestPlanesDoNotLinkEachOther(t *testing.T) {
	for _, c := range []struct {
		room, not []string
		reason    string
	}{
		{
			[]string{"internal/proxy"},
			[]string{"internal/xds", "internal/config", "internal/control", "internal/platform", "internal/cli"},
			"the engine runs a snapshot, wherever that came from",
		},
		{[]string{"internal/control"}, []string{"internal/proxy", "internal/agent", "internal/loop"}, "the control plane decides with the leaves, never with the engine"},
	} {
		for _, p := range list(t, "./...") {
			if !within(p.name(), c.room...) {
				continue
			}
			for _, dep := range p.Deps {
				if within(short(dep), c.not...) && strings.HasPrefix(dep, module) {
					t.Errorf("%s links %s: %s", p.name(), short(dep), c.reason)
				}
			}
		}
	}
}

// An outside SDK stays in one room, so that it can be changed, or left, in one place.
func TestOutsideSDKsHaveOneRoom(t *testing.T) {
	for _, sdk := range []struct{ prefix, room string }{
		{"go.etcd.io/", "internal/control"}, // etcd's client API is the store's interface
		{"k8s.io/client-go", "internal/platform/kube"},
		{"sigs.k8s.io/controller-runtime", "internal/platform/kube"},
		{"sigs.k8s.io/gateway-api", "internal/config"},
		{"istio.io/", "internal/config/istio"},
		{"github.com/hashicorp/consul", "internal/platform/consul"},
		{"github.com/hashicorp/vault", "internal/control/ca"},
		{"github.com/envoyproxy/", "internal/xds/envoy"},
		{"github.com/cilium/ebpf", "internal/redirect"},
		{"github.com/spf13/cobra", "internal/cli"},
	} {
		for _, p := range list(t, "./...") {
			uses := slices.ContainsFunc(p.Imports, func(imp string) bool { return strings.HasPrefix(imp, sdk.prefix) })
			if uses && !within(p.name(), sdk.room) {
				t.Errorf("%s imports %s...: only %s may, so that the SDK can be changed in one place", p.name(), sdk.prefix, sdk.room)
			}
		}
	}
}
