package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

func (a *App) describeCommand() *cobra.Command {
	var q query
	cmd := &cobra.Command{
		Use:   "describe KIND [NAME...]",
		Short: "Show a resource with its conditions, rules, endpoints and users",
		Long: text(`
			Describe shows everything known of a resource: where it was written, whether it was accepted and its
			references resolve, its rules in order, the endpoints behind it, and which proxies run it.
			Kinds are those of get. The exit status is 1 when a name does not exist.`),
		Example:           "  weft describe httproute reviews\n  weft describe service reviews\n  weft describe proxy reviews-v1-5x2k",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeResources,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			q.kind, q.names = splitRef(args)
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.describe(cmd.Context(), client, &q)
		}),
	}
	a.addNamespace(cmd, &q.scope, true)
	return cmd
}

func (a *App) describe(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) error {
	// Users of a service may live in any namespace.
	everything := &query{scope: scope{all: true}}
	proxies, err := a.proxies(ctx, client, everything)
	if err != nil {
		return err
	}
	services, err := a.services(ctx, client, everything)
	if err != nil {
		return err
	}
	d := &description{app: a, proxies: proxies, services: services}
	switch q.kind {
	case kindProxy:
		found, err := a.proxies(ctx, client, q)
		return describeAll(d, found, d.proxy, err)
	case kindService, kindEndpoint:
		found, err := a.services(ctx, client, q)
		return describeAll(d, found, d.service, err)
	}
	found, err := a.list(ctx, client, q)
	return describeAll(d, found, d.resource, err)
}

func describeAll[T any](d *description, found []T, one func(T), err error) error {
	if err != nil {
		return err
	}
	if len(found) == 0 {
		d.app.note("nothing found")
	}
	for i, v := range found {
		if i > 0 {
			d.app.printf("\n")
		}
		one(v)
	}
	return nil
}

// description writes resources together with what refers to them.
type description struct {
	app      *App
	proxies  []*adminv1.ProxyInfo
	services []*adminv1.ServiceInfo
}

func (d *description) field(name, value string) {
	d.app.printf("%-12s %s\n", name+":", orDash(word(value)))
}

// section writes an indented table under a title, or "none".
func (d *description) section(title string, t *table) {
	if len(t.rows) == 0 {
		d.app.printf("%-12s none\n", title+":")
		return
	}
	d.app.printf("%s:\n", title)
	for line := range strings.Lines(t.String()) {
		d.app.printf("  %s", line)
	}
}

func (d *description) resource(r *adminv1.StoredResource) {
	d.field("Name", r.GetRef().GetName())
	d.field("Namespace", r.GetRef().GetNamespace())
	d.field("Kind", r.GetRef().GetKind()+" "+r.GetRef().GetApiVersion())
	d.field("Source", place(r.GetFile(), r.GetLine(), 0))
	d.field("Revision", fmt.Sprint(r.GetRevision()))
	d.field("Age", d.app.age(r.GetCreated()))

	conditions := newTable("TYPE", "STATUS", "REASON", "MESSAGE")
	for _, c := range r.GetConditions() {
		conditions.add(c.GetType(), c.GetStatus(), c.GetReason(), c.GetMessage())
	}
	d.section("Conditions", conditions)
	d.parents(r)
	d.listeners(r)

	var s routeShape
	if err := yaml.Unmarshal([]byte(r.GetYaml()), &s); err != nil || len(s.Spec.ParentRefs) == 0 {
		return // of a kind without rules
	}
	var parents []string
	for _, p := range s.Spec.ParentRefs {
		ns := p.Namespace
		if ns == "" {
			ns = r.GetRef().GetNamespace()
		}
		parents = append(parents, ns+"/"+p.Name)
	}
	d.field("Parents", strings.Join(parents, ", "))
	var rules []*discoveryv1.Rule
	for _, p := range slices.Compact(slices.Clone(parents)) {
		for _, rule := range d.rulesOf(p) {
			ref := rule.GetRef()
			if ref.GetKind() == r.GetRef().GetKind() && ref.GetNamespace() == r.GetRef().GetNamespace() && ref.GetName() == r.GetRef().GetName() {
				rules = append(rules, rule)
			}
		}
	}
	d.section("Rules", d.ruleTable(rules))
	d.section("Endpoints", d.endpointTable(backends(rules)))
	d.section("Used by", d.users(parents))
}

func (d *description) service(s *adminv1.ServiceInfo) {
	ns, name, _ := strings.Cut(s.GetService().GetName(), "/")
	d.field("Name", name)
	d.field("Namespace", ns)
	d.field("Kind", kindService)
	d.field("Address", address(s.GetService().GetVip()))
	d.field("Ports", ports(s.GetService().GetPorts()))
	d.section("Rules", d.ruleTable(s.GetService().GetRules()))
	targets := []string{s.GetService().GetName()}
	d.section("Endpoints", d.endpointTable(append(targets, backends(s.GetService().GetRules())...)))
	d.section("Used by", d.users(targets))
}

func (d *description) proxy(p *adminv1.ProxyInfo) {
	n := p.GetNode()
	d.field("Name", n.GetId())
	d.field("Namespace", p.GetNamespace())
	d.field("Kind", kindProxy+" "+n.GetPlacement())
	d.field("Service", n.GetService())
	d.field("Identity", p.GetIdentity())
	d.field("Labels", labels(n.GetLabels()))
	d.field("Version", n.GetVersion())
	d.field("Connected", d.app.age(p.GetConnected())+" to "+p.GetInstance())
	d.field("Revision", fmt.Sprintf("%d acknowledged of %d sent, %s", p.GetAckedRevision(), p.GetSentRevision(), proxyState(p)))
	if s := p.GetStats(); s != nil {
		d.field("Memory", byteSize(s.GetResidentBytes()))
		d.field("Connections", fmt.Sprint(s.GetOpenConnections()))
		if t := s.GetSvidNotAfter(); t != nil {
			d.field("Certificate", "valid for "+span(t.AsTime().Sub(d.app.o.Now())))
		}
	}
	inbound := newTable("SERVICE PORT", "PORT", "PROTOCOL")
	for _, i := range n.GetInbound() {
		inbound.add(fmt.Sprint(i.GetServicePort()), fmt.Sprint(i.GetPort()), orDash(i.GetProtocol()))
	}
	d.section("Inbound", inbound)
	subs := newTable("RESOURCE")
	for _, s := range p.GetSubscriptions() {
		subs.add(s)
	}
	d.section("Runs", subs)
}
