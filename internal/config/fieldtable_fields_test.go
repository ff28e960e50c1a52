package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gatewayKinds are the kinds of the Gateway API with the types of their specs, in the order of the reference.
func gatewayKinds() []struct {
	kind string
	spec reflect.Type
} {
	return []struct {
		kind string
		spec reflect.Type
	}{
		{"GatewayClass", reflect.TypeFor[v1.GatewayClassSpec]()},
		{"Gateway", reflect.TypeFor[v1.GatewaySpec]()},
		{"ListenerSet", reflect.TypeFor[v1.ListenerSetSpec]()},
		{"HTTPRoute", reflect.TypeFor[v1.HTTPRouteSpec]()},
		{"GRPCRoute", reflect.TypeFor[v1.GRPCRouteSpec]()},
		{"TLSRoute", reflect.TypeFor[v1.TLSRouteSpec]()},
		{"TCPRoute", reflect.TypeFor[v1.TCPRouteSpec]()},
		{"UDPRoute", reflect.TypeFor[v1.UDPRouteSpec]()},
		{"BackendTLSPolicy", reflect.TypeFor[v1.BackendTLSPolicySpec]()},
		{"ReferenceGrant", reflect.TypeFor[v1.ReferenceGrantSpec]()},
	}
}

// leavesOf returns the fields of a struct that hold plain values, lists or maps of them, as "rules[].name".
func leavesOf(t reflect.Type, at string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		ft, path := f.Type, at+name
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if f.Anonymous || strings.Contains(options, "inline") {
			out = append(out, leavesOf(ft, at)...)
			continue
		}
		if ft.Kind() == reflect.Slice {
			path, ft = path+"[]", ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft.NumField() > 0 {
			out = append(out, leavesOf(ft, path+".")...)
			continue
		}
		out = append(out, path)
	}
	return out
}

// policyLeaves returns the fields of a TrafficPolicy. They are those of its reference, which a test of package native
// compares with the types. The fields of matches, which are the same in faults and rate limits, are there once.
func policyLeaves(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/reference/trafficpolicy.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	table, row := false, regexp.MustCompile("^\\| `([^`]+)` \\|")
	for line := range strings.Lines(string(text)) {
		table = strings.HasPrefix(line, "|") && (table || strings.HasPrefix(line, "| field |"))
		if m := row.FindStringSubmatch(line); table && m != nil && !strings.HasSuffix(m[1], ".matches[]") {
			all = append(all, m[1])
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, f+".") })
	})
}
