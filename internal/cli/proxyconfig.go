package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

func (a *App) proxyConfigCommand() *cobra.Command {
	return a.family("proxy-config", "Show what a proxy runs",
		"Proxy-config shows the configuration that a proxy acknowledged last. PROXY is its name, as proxy-status prints it, or a service with one proxy.",
		"  weft proxy-config services productpage\n  weft proxy-config routes productpage\n  weft proxy-config dump productpage -o yaml > snapshot.yaml",
		a.proxyConfigPart("dump", "Write the whole configuration, as weft-proxy --snapshot reads it", nil),
		a.proxyConfigPart("services", "List the services a proxy can call", servicesOf),
		a.proxyConfigPart("endpoints", "List the endpoints a proxy can send to", endpointsOf),
		a.proxyConfigPart("routes", "List the rules of a proxy, in order", routesOf),
	)
}

// proxyConfigPart is one subcommand; with a nil table it writes the snapshot itself.
func (a *App) proxyConfigPart(name, short string, part func(*model.Snapshot) *table) *cobra.Command {
	var output choice
	cmd := &cobra.Command{
		Use:   name + " PROXY",
		Short: short,
		Long: short + ".\n" + text(`
			PROXY is the proxy's name or a service with one proxy. The exit status is 1 when there is no such
			proxy or it has not acknowledged a configuration yet.`),
		Example:           "  weft proxy-config " + name + " productpage",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeProxies,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			id, err := a.findProxy(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			res, err := call(cmd.Context(), a, client.GetSnapshot, &adminv1.GetSnapshotRequest{Proxy: id})
			if err != nil {
				return err
			}
			return a.printSnapshot([]byte(res.GetJson()), output.value, part)
		}),
	}
	if part == nil {
		addOutput(cmd, &output, "yaml", "json")
	} else {
		addOutput(cmd, &output, "table", "json", "yaml")
	}
	return cmd
}

func (a *App) printSnapshot(raw []byte, format string, part func(*model.Snapshot) *table) error {
	var s model.Snapshot
	if err := json.Unmarshal(raw, &s); err != nil {
		return fail(ExitInternal, "the control plane sent a snapshot this version cannot read: %w; see `weft version`", err)
	}
	switch {
	case part == nil:
		return a.printValue(&s, format)
	case format != "table":
		return a.printValue(s.Services, format)
	}
	t := part(&s)
	if len(t.rows) == 0 {
		a.note("nothing: the proxy's program has not called any service yet")
		return nil
	}
	return t.write(a.out)
}

// findProxy returns the id of the proxy of that name, or of the only proxy of that service.
func (a *App) findProxy(ctx context.Context, client adminv1connect.AdminServiceClient, name string) (string, error) {
	all, err := a.proxies(ctx, client, &query{scope: scope{all: true}})
	if err != nil {
		return "", err
	}
	service := scope{namespace: "default"}.full(name)
	var ids []string
	for _, p := range all {
		if p.GetNode().GetId() == name {
			return name, nil
		}
		if full := p.GetNode().GetService(); full == service || p.GetNamespace()+"/"+full == service {
			ids = append(ids, p.GetNode().GetId())
		}
	}
	switch len(ids) {
	case 0:
		return "", fail(ExitNo, "there is no proxy %q; `weft proxy-status` lists what there is", clean(name))
	case 1:
		return ids[0], nil
	}
	return "", fail(ExitUsage, "%q has %s, name one: %s", clean(name), plural(len(ids), "proxy"), clean(strings.Join(ids, ", ")))
}

func servicesOf(s *model.Snapshot) *table {
	t := newTable("SERVICE", "ADDRESS", "PORTS", ">RULES", ">ENDPOINTS")
	for _, svc := range s.Services {
		vip := "-"
		if svc.VIP.IsValid() {
			vip = svc.VIP.String()
		}
		var ports []string
		for _, p := range svc.Ports {
			text := fmt.Sprint(p.Number)
			if p.Protocol != model.Auto {
				text += "/" + string(p.Protocol)
			}
			ports = append(ports, text)
		}
		t.add(svc.Name.String(), vip, orDash(strings.Join(ports, ",")), fmt.Sprint(len(svc.Rules)), fmt.Sprint(len(svc.Endpoints)))
	}
	return t
}

func endpointsOf(s *model.Snapshot) *table {
	t := newTable("SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "STATE", "IDENTITY")
	for _, svc := range s.Services {
		for _, e := range svc.Endpoints {
			state := "ready"
			switch {
			case e.Draining:
				state = "draining"
			case e.Plain:
				state = "plain"
			}
			t.add(svc.Name.String(), e.ID, e.Place(), orDash(e.Labels[model.LabelVersion]), state, orDash(e.Identity.String()))
		}
	}
	return t
}

func routesOf(s *model.Snapshot) *table {
	t := newTable("SERVICE", "RULE", "MATCHES", "BACKENDS", "SOURCE")
	for _, svc := range s.Services {
		if len(svc.Rules) == 0 {
			t.add(svc.Name.String(), "default", "every request", svc.Name.Name+" 100%", "-")
		}
		for i := range svc.Rules {
			r := wireRule(&svc.Rules[i])
			t.add(svc.Name.String(), ruleName(r.GetRef()), matchText(r.GetMatches()), backendText(r.GetBackends()), orDash(place(r.GetRef().GetFile(), r.GetRef().GetLine(), 0)))
		}
	}
	return t
}
