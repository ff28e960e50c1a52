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
)

// query is what get and describe look for.
type query struct {
	kind   string
	names  []string
	scope  scope
	format string
}

// wants reports whether a name is asked for.
func (q *query) wants(name string) bool {
	return len(q.names) == 0 || slices.Contains(q.names, name)
}

func (a *App) getCommand() *cobra.Command {
	var q query
	var output choice
	cmd := &cobra.Command{
		Use:   "get [KIND [NAME...]]",
		Short: "List resources, services, endpoints and proxies",
		Long: text(`
			Get lists the resources of a kind: a kind of document (httproutes), or services, endpoints and
			proxies, which are what runs. Without a kind it lists all documents and services of the namespace.
			Kinds may be written in singular, plural or short (svc, ep, px). The exit status is 1 when a name
			does not exist.`),
		Example:           "  weft get\n  weft get httproutes -A -o wide\n  weft get httproute reviews -o yaml\n  weft get services",
		ValidArgsFunction: a.completeResources,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			q.kind, q.names = splitRef(args)
			q.format = output.value
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.get(cmd.Context(), client, &q)
		}),
	}
	a.addNamespace(cmd, &q.scope, true)
	addOutput(cmd, &output, "table", "wide", "json", "yaml", "name")
	return cmd
}

func (a *App) get(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) error {
	switch q.kind {
	case kindService:
		return a.getServices(ctx, client, q)
	case kindEndpoint:
		return a.getEndpoints(ctx, client, q)
	case kindProxy:
		return a.getProxies(ctx, client, q)
	}
	found, err := a.list(ctx, client, q)
	if err != nil {
		return err
	}
	switch q.format {
	case "json", "yaml":
		return a.printResources(found, q)
	case "name":
		for _, r := range found {
			a.printf("%s\n", qualified(r.GetRef()))
		}
		return nil
	}
	if len(found) > 0 {
		if err := a.resourceTable(found, q).write(a.out); err != nil {
			return err
		}
		if q.kind == "" {
			a.printf("\n")
		}
	} else {
		a.note("no %s in %s", orResources(q.kind), q.where())
	}
	if q.kind != "" {
		return nil
	}
	return a.getServices(ctx, client, q)
}

func orResources(kindName string) string {
	if kindName == "" {
		return "documents"
	}
	return word(kindName)
}

func (q *query) where() string {
	if q.scope.all {
		return "any namespace"
	}
	return "namespace " + q.scope.namespace
}

// list returns the stored resources of the query. A name that does not exist is an error.
func (a *App) list(ctx context.Context, client adminv1connect.AdminServiceClient, q *query) ([]*adminv1.StoredResource, error) {
	req := &adminv1.ListRequest{Kind: q.kind, Namespace: q.scope.filter()}
	if len(q.names) == 1 {
		req.Name = q.names[0]
	}
	res, err := call(ctx, a, client.List, req)
	if err != nil {
		return nil, err
	}
	var found []*adminv1.StoredResource
	for _, r := range res.GetResources() {
		if q.wants(r.GetRef().GetName()) {
			found = append(found, r)
		}
	}
	for _, name := range q.names {
		if !slices.ContainsFunc(found, func(r *adminv1.StoredResource) bool { return r.GetRef().GetName() == name }) {
			return nil, notFound(q.kind, name, q.scope)
		}
	}
	return found, nil
}

// resourceTable is NAME PARENTS RULES STATUS AGE, the same for every kind so that kinds may be mixed.
func (a *App) resourceTable(found []*adminv1.StoredResource, q *query) *table {
	columns := []string{"NAME", "PARENTS", ">RULES", "STATUS", ">AGE"}
	if q.format == "wide" {
		columns = append(columns, ">REVISION", "SOURCE")
	}
	if q.scope.all {
		columns = append([]string{"NAMESPACE"}, columns...)
	}
	t := newTable(columns...)
	for _, r := range found {
		name := r.GetRef().GetName()
		if q.kind == "" {
			name = qualified(r.GetRef())
		}
		parents, rules := outline(r.GetYaml())
		cells := []string{
			name, orDash(strings.Join(parents, ",")), rules, standing(r.GetConditions()), a.age(r.GetCreated()),
			fmt.Sprint(r.GetRevision()), orDash(place(r.GetFile(), r.GetLine(), 0)),
		}
		if q.scope.all {
			cells = append([]string{r.GetRef().GetNamespace()}, cells...)
		}
		t.add(cells...)
	}
	return t
}

// standing sums conditions up: "Ready", or the first that does not hold and why.
func standing(conditions []*adminv1.Condition) string {
	if len(conditions) == 0 {
		return "-"
	}
	for _, c := range conditions {
		if c.GetStatus() != "True" {
			return fmt.Sprintf("%s=%s (%s)", c.GetType(), c.GetStatus(), c.GetReason())
		}
	}
	return "Ready"
}

// routeShape is the part of a route that tables show; other kinds leave it empty.
type routeShape struct {
	Spec struct {
		ParentRefs []struct{ Kind, Namespace, Name string }
		Rules      []map[string]any
	}
}

// outline returns a route's parents and the number of its rules.
func outline(doc string) (parents []string, rules string) {
	var s routeShape
	// The document was accepted by the control plane; another kind just has none of these fields.
	if err := yaml.Unmarshal([]byte(doc), &s); err != nil || len(s.Spec.ParentRefs) == 0 {
		return nil, "-"
	}
	for _, p := range s.Spec.ParentRefs {
		parents = append(parents, strings.ToLower(p.Kind)+"/"+p.Name)
	}
	return parents, fmt.Sprint(len(s.Spec.Rules))
}

// printResources writes one document, or a list of them as kubectl does.
func (a *App) printResources(found []*adminv1.StoredResource, q *query) error {
	if q.format == "yaml" {
		for i, r := range found {
			if i > 0 {
				a.printf("---\n")
			}
			a.printf("%s", clean(string(withNewline(r.GetYaml()))))
		}
		return nil
	}
	items := make([]any, 0, len(found))
	for _, r := range found {
		var v any
		if err := yaml.Unmarshal([]byte(r.GetYaml()), &v); err != nil {
			return fail(ExitInternal, "the control plane sent %s, which is not YAML: %w", qualified(r.GetRef()), err)
		}
		items = append(items, v)
	}
	if len(q.names) == 1 && len(items) == 1 {
		return a.printValue(items[0], "json")
	}
	return a.printValue(map[string]any{"apiVersion": "v1", "kind": "List", "items": items}, "json")
}
