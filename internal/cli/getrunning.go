package cli

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// services returns the services of the query. A name that does not exist is an error.
func (a *App) services(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) ([]*adminv1.ServiceInfo, error) {
	res, err := call(ctx, a, client.ListServices, &adminv1.ListServicesRequest{Namespace: q.scope.filter()})
	if err != nil {
		return nil, err
	}
	var found []*adminv1.ServiceInfo
	for _, s := range res.GetServices() {
		if _, name, _ := strings.Cut(s.GetService().GetName(), "/"); q.wants(name) {
			found = append(found, s)
		}
	}
	for _, name := range q.names {
		if !slices.ContainsFunc(found, func(s *adminv1.ServiceInfo) bool {
			return strings.HasSuffix(s.GetService().GetName(), "/"+name)
		}) {
			return nil, notFound(kindService, name, q.scope)
		}
	}
	return found, nil
}

func (a *App) getServices(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) error {
	found, err := a.services(ctx, client, q)
	if err != nil {
		return err
	}
	switch q.format {
	case "json", "yaml":
		return a.printProto(&adminv1.ListServicesResponse{Services: found}, q.format)
	case "name":
		for _, s := range found {
			_, name, _ := strings.Cut(s.GetService().GetName(), "/")
			a.printf("service/%s\n", word(name))
		}
		return nil
	}
	if len(found) == 0 {
		a.note("no services in %s", q.where())
		return nil
	}
	t := namespaced(q, "NAME", "ADDRESS", "PORTS", ">ENDPOINTS", ">RULES", "VERSIONS")
	for _, s := range found {
		ns, name, _ := strings.Cut(s.GetService().GetName(), "/")
		t.add(q.row(ns, name, address(s.GetService().GetVip()), orDash(ports(s.GetService().GetPorts())),
			readiness(s.GetEndpoints().GetEndpoints()), fmt.Sprint(len(s.GetService().GetRules())),
			orDash(versions(s.GetEndpoints().GetEndpoints())))...)
	}
	return t.write(a.out)
}

func (a *App) getEndpoints(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) error {
	found, err := a.services(ctx, client, q)
	if err != nil {
		return err
	}
	switch q.format {
	case "json", "yaml":
		return a.printProto(&adminv1.ListServicesResponse{Services: found}, q.format)
	}
	t := namespaced(q, "SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "STATE")
	if q.format == "wide" {
		t = namespaced(q, "SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "STATE", "IDENTITY", "LABELS")
	}
	for _, s := range found {
		ns, name, _ := strings.Cut(s.GetService().GetName(), "/")
		for _, e := range s.GetEndpoints().GetEndpoints() {
			if q.format == "name" {
				a.printf("endpoint/%s\n", word(e.GetId()))
				continue
			}
			t.add(q.row(ns, name, e.GetId(), e.GetAddress(), orDash(e.GetLabels()["version"]), endpointState(e), orDash(e.GetIdentity()), orDash(labels(e.GetLabels())))...)
		}
	}
	if q.format == "name" {
		return nil
	}
	if len(t.rows) == 0 {
		a.note("no endpoints in %s", q.where())
		return nil
	}
	return t.write(a.out)
}

func (a *App) getProxies(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) error {
	found, err := a.proxies(ctx, client, q)
	if err != nil {
		return err
	}
	switch q.format {
	case "json", "yaml":
		return a.printProto(&adminv1.ListProxiesResponse{Proxies: found}, q.format)
	case "name":
		for _, p := range found {
			a.printf("proxy/%s\n", word(p.GetNode().GetId()))
		}
		return nil
	}
	if len(found) == 0 {
		a.note("no proxies in %s", q.where())
		return nil
	}
	return a.proxyTable(found, q).write(a.out)
}

// proxies returns the connected proxies of the query, by name. A name that does not exist is an error.
func (a *App) proxies(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) ([]*adminv1.ProxyInfo, error) {
	res, err := call(ctx, a, client.ListProxies, &adminv1.ListProxiesRequest{})
	if err != nil {
		return nil, err
	}
	var found []*adminv1.ProxyInfo
	for _, p := range res.GetProxies() {
		if (q.scope.all || p.GetNamespace() == q.scope.namespace) && q.wants(p.GetNode().GetId()) {
			found = append(found, p)
		}
	}
	for _, name := range q.names {
		if !slices.ContainsFunc(found, func(p *adminv1.ProxyInfo) bool { return p.GetNode().GetId() == name }) {
			return nil, notFound(kindProxy, name, q.scope)
		}
	}
	sort.SliceStable(found, func(i, j int) bool {
		x, y := found[i], found[j]
		return x.GetNamespace()+"/"+x.GetNode().GetId() < y.GetNamespace()+"/"+y.GetNode().GetId()
	})
	return found, nil
}

// namespaced is a table with NAMESPACE first when the query is for all of them; row fits.
func namespaced(q *query, columns ...string) *table {
	if q.scope.all {
		columns = append([]string{"NAMESPACE"}, columns...)
	}
	return newTable(columns...)
}

func (q *query) row(namespace string, cells ...string) []string {
	if q.scope.all {
		return append([]string{namespace}, cells...)
	}
	return cells
}

func address(b []byte) string {
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return "-"
	}
	return ip.Unmap().String()
}

func ports(list []*discoveryv1.Port) string {
	var s []string
	for _, p := range list {
		text := fmt.Sprint(p.GetNumber())
		if p.GetProtocol() != "" {
			text += "/" + p.GetProtocol()
		}
		s = append(s, text)
	}
	return strings.Join(s, ",")
}

// readiness is the endpoints that take work, of all.
func readiness(list []*discoveryv1.Endpoint) string {
	ready := 0
	for _, e := range list {
		if !e.GetDraining() {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(list))
}

func versions(list []*discoveryv1.Endpoint) string {
	var s []string
	for _, e := range list {
		if v := e.GetLabels()["version"]; v != "" {
			s = append(s, v)
		}
	}
	slices.Sort(s)
	return strings.Join(slices.Compact(s), ",")
}

func endpointState(e *discoveryv1.Endpoint) string {
	switch {
	case e.GetDraining():
		return "draining"
	case e.GetPlain():
		return "plain"
	}
	return "ready"
}

func labels(m map[string]string) string {
	var s []string
	for k, v := range m {
		s = append(s, k+"="+v)
	}
	slices.Sort(s)
	return strings.Join(s, ",")
}
