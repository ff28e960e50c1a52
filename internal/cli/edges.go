package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

func (a *App) edgesCommand() *cobra.Command {
	var f statFlags
	cmd := &cobra.Command{
		Use:   "edges [[svc/]SERVICE...]",
		Short: "Show who talks to whom, with identity and encryption of each edge",
		Long: text(`
			Edges lists the connections within the time window, as the proxies at both ends saw them. SECURED is
			a mark when both ends proved their identity by mutual TLS, else the reason. -o wide adds the
			identities. An edge with the same ends has a row for each pair of identities and kind of TLS.`),
		Example:           "  weft edges\n  weft edges -A -o wide\n  weft edges reviews",
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.edges(cmd.Context(), client, &f, args)
		}),
	}
	a.addNamespace(cmd, &f.scope, true)
	a.addWindow(cmd, &f)
	addOutput(cmd, &f.output, "table", "wide", "json", "yaml")
	return cmd
}

// edge is one row, as -o json and yaml write it.
type edge struct {
	Source      string `json:"src"`
	Destination string `json:"dst"`
	SourceNS    string `json:"src_namespace"`
	DestNS      string `json:"dst_namespace"`
	ClientID    string `json:"client_id,omitempty"`
	ServerID    string `json:"server_id,omitempty"`
	TLS         string `json:"tls"`
	Secured     bool   `json:"secured"`
	Reason      string `json:"reason,omitempty"`
}

func (a *App) edges(ctx context.Context, client adminv1connect.AdminServiceClient, f *statFlags, args []string) error {
	var wanted []string
	for _, arg := range args {
		name, err := f.scope.service(arg)
		if err != nil {
			return err
		}
		if name != "" {
			wanted = append(wanted, name)
		}
	}
	namespace := f.scope.filter()
	if len(wanted) > 0 {
		namespace = "" // they may be in another
	}
	res, err := call(ctx, a, client.Stat, &adminv1.StatRequest{
		Window: durationpb.New(f.window), Namespace: namespace,
		GroupBy: []string{"source", "destination", "source_id", "destination_id", "tls"},
	})
	if err != nil {
		return err
	}
	found := mergeEdges(res.GetRows())
	if len(wanted) > 0 {
		found = slices.DeleteFunc(found, func(e edge) bool {
			return !slices.Contains(wanted, e.SourceNS+"/"+e.Source) && !slices.Contains(wanted, e.DestNS+"/"+e.Destination)
		})
	}
	switch f.output.value {
	case "json", "yaml":
		return a.printValue(found, f.output.value)
	}
	if len(found) == 0 {
		a.note("no connections in %s within %s", (&query{scope: f.scope}).where(), f.window)
		return nil
	}
	columns := []string{"SRC", "DST", "SRC_NS", "DST_NS", "SECURED"}
	if f.output.value == "wide" {
		columns = slices.Insert(columns, 4, "CLIENT_ID", "SERVER_ID")
	}
	t := newTable(columns...)
	for _, e := range found {
		cells := []string{orUnknown(e.Source), orUnknown(e.Destination), orDash(e.SourceNS), orDash(e.DestNS)}
		if f.output.value == "wide" {
			cells = append(cells, orDash(e.ClientID), orDash(e.ServerID))
		}
		secured := e.Reason
		if e.Secured {
			secured = a.marks().ok
		}
		t.add(append(cells, secured)...)
	}
	return t.write(a.out)
}

// mergeEdges joins what both ends of an edge reported: an end may know less than both, never other.
func mergeEdges(rows []*adminv1.StatRow) []edge {
	edges := make([]edge, 0, len(rows))
	for _, r := range rows {
		l := r.GetLabels()
		e := edge{ClientID: l["source_id"], ServerID: l["destination_id"], TLS: l["tls"]}
		e.SourceNS, e.Source, _ = strings.Cut(l["source"], "/")
		e.DestNS, e.Destination, _ = strings.Cut(l["destination"], "/")
		if e.Destination == "" {
			continue // nothing answered: there was no edge
		}
		i := slices.IndexFunc(edges, func(o edge) bool { return o.agrees(e) })
		if i < 0 {
			edges = append(edges, e)
			continue
		}
		edges[i].ClientID = first(edges[i].ClientID, e.ClientID)
		edges[i].ServerID = first(edges[i].ServerID, e.ServerID)
	}
	for i := range edges {
		edges[i].judge()
	}
	slices.SortStableFunc(edges, func(x, y edge) int {
		return strings.Compare(strings.Join([]string{x.SourceNS, x.Source, x.DestNS, x.Destination, x.TLS}, "\x00"),
			strings.Join([]string{y.SourceNS, y.Source, y.DestNS, y.Destination, y.TLS}, "\x00"))
	})
	return edges
}

func (e edge) agrees(o edge) bool {
	same := func(x, y string) bool { return x == y || x == "" || y == "" }
	return e.SourceNS == o.SourceNS && e.Source == o.Source && e.DestNS == o.DestNS && e.Destination == o.Destination &&
		e.TLS == o.TLS && same(e.ClientID, o.ClientID) && same(e.ServerID, o.ServerID)
}

// judge decides whether the edge is secured, or why not.
func (e *edge) judge() {
	switch {
	case e.TLS == "mutual" && e.ClientID != "" && e.ServerID != "":
		e.Secured = true
	case e.TLS == "mutual":
		e.Reason = "an identity is unknown"
	case e.TLS == "":
		e.Reason = "not known: no connection was made"
	case e.Source == "":
		e.Reason = "plaintext: the client is not in the mesh"
	default:
		e.Reason = "plaintext"
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
