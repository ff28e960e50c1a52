package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

var update = flag.Bool("update", false, "write the expected files anew")

// golden compares with a file of testdata, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got), -update writes it anew:\n%s", path, d)
	}
}

func TestGolden(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "route.yaml")
	if err := os.WriteFile(doc, []byte(routeYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	live := &adminv1.WaitResponse{Proxies: 7}
	for _, c := range []struct {
		name, args string
		fake       fake
	}{
		{name: "get", args: "get"},
		{name: "get-all-wide", args: "get -A -o wide"},
		{name: "get-routes", args: "get httproutes"},
		{name: "get-routes-name", args: "get httproutes -o name"},
		{name: "get-route-json", args: "get httproute reviews -o json"},
		{name: "get-route-yaml", args: "get httproute/reviews -o yaml"},
		{name: "get-services", args: "get svc"},
		{name: "get-services-yaml", args: "get services ratings -o yaml"},
		{name: "get-endpoints", args: "get ep -o wide"},
		{name: "get-missing", args: "get httproute nosuch"},
		{name: "describe-route", args: "describe httproute reviews"},
		{name: "describe-service", args: "describe svc/reviews"},
		{name: "describe-proxy", args: "describe proxy productpage-1"},
		{name: "apply", args: "apply -f " + doc},
		{name: "apply-wait", args: "apply -f " + doc + " --wait", fake: fake{wait: live}},
		{name: "apply-refused", args: "apply -f " + doc + " --wait", fake: fake{wait: &adminv1.WaitResponse{Proxies: 1, Refusals: []*adminv1.Refusal{{Proxy: "p-1", Reason: "no"}}}}},
		{name: "apply-pending", args: "apply -f " + doc + " --wait --timeout 1s", fake: fake{wait: &adminv1.WaitResponse{Proxies: 1, Pending: []string{"p-2", "p-3"}}}},
		{name: "apply-dry-run", args: "apply -f " + doc + " --dry-run"},
		{name: "delete", args: "delete httproute reviews"},
		{name: "delete-wait", args: "delete -f " + doc + " --wait", fake: fake{wait: live}},
		{name: "diff", args: "diff -f " + doc},
		{name: "history", args: "history"},
		{name: "history-wide", args: "history -o wide"},
		{name: "history-json", args: "history -l 1 -o json"},
		{name: "history-show", args: "history show 42"},
		{name: "history-show-missing", args: "history show 7"},
		{name: "rollback", args: "rollback"},
		{name: "rollback-to", args: "rollback 42 --wait", fake: fake{wait: live}},
		{name: "rollback-dry-run", args: "rollback 42 --dry-run"},
		{name: "apply-guard-rolled-back", args: "apply -f " + doc + " --guard 60s", fake: fake{wait: live, guard: rolledBack()}},
		{name: "apply-guard-kept", args: "apply -f " + doc + " --guard 60s", fake: fake{wait: live, guard: &adminv1.GuardStatus{State: adminv1.GuardStatus_STATE_KEPT, Services: rolledBack().GetServices()[:1]}}},
		{name: "apply-guard-unjudged", args: "apply -f " + doc + " --guard 60s", fake: fake{wait: live, guard: &adminv1.GuardStatus{State: adminv1.GuardStatus_STATE_UNJUDGED, Reason: "not enough traffic to judge: default/reviews (3 of 50 requests)"}}},
		{name: "apply-guard-conflict", args: "apply -f " + doc + " --guard 60s -o name", fake: fake{guard: &adminv1.GuardStatus{State: adminv1.GuardStatus_STATE_CONFLICT, Reason: "x; but y"}}},
		{name: "apply-guard-json", args: "apply -f " + doc + " --guard 60s -o json", fake: fake{guard: rolledBack()}},
		{name: "stat", args: "stat"},
		{name: "stat-wide", args: "stat reviews -o wide"},
		{name: "stat-by-version", args: "stat svc/reviews --by version"},
		{name: "stat-json", args: "stat -o json"},
		{name: "stat-to", args: "stat --to reviews"},
		{name: "routes", args: "routes"},
		{name: "edges", args: "edges"},
		{name: "edges-wide", args: "edges -A -o wide"},
		{name: "edges-json", args: "edges reviews -o json"},
		{name: "tap", args: "tap"},
		{name: "tap-wide", args: "tap productpage -o wide"},
		{name: "tap-json", args: "tap -o json"},
		{name: "proxy-status", args: "proxy-status"},
		{name: "proxy-status-wide", args: "proxy-status -o wide -n default"},
		{name: "proxy-config-dump", args: "proxy-config dump productpage"},
		{name: "proxy-config-services", args: "proxy-config services productpage-1"},
		{name: "proxy-config-endpoints", args: "proxy-config endpoints productpage"},
		{name: "proxy-config-routes", args: "proxy-config routes productpage"},
		{name: "explain", args: "explain reviews --from productpage --header end-user=jason --path /reviews/0"},
		{name: "token", args: "token create --account reviews"},
		{name: "version", args: "version"},
		{name: "version-json", args: "version -o json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := c.fake.serve(t)
			r := world{socket: socket}.weft(t, strings.Fields(c.args)...)
			shown := strings.ReplaceAll(c.args, doc, "route.yaml")
			got := fmt.Sprintf("$ weft %s\n%s-- stderr --\n%s-- exit status %d\n", shown, r.out, r.err, r.code)
			golden(t, filepath.Join("testdata", "golden", c.name+".txt"), strings.NewReplacer(doc, "route.yaml", socket, "SOCKET").Replace(got))
		})
	}
}

func TestGoldenTerminal(t *testing.T) {
	w := world{socket: (&fake{}).serve(t), terminal: true, env: map[string]string{"LANG": "C.UTF-8"}}
	r := w.weft(t, "explain", "reviews")
	golden(t, filepath.Join("testdata", "golden", "explain-terminal.txt"), r.out)
	r = w.weft(t, "edges")
	golden(t, filepath.Join("testdata", "golden", "edges-terminal.txt"), r.out)
	if strings.Contains(w.weft(t, "tap").out, "\x1b") {
		t.Error("a path of a request reached the terminal with its escape characters")
	}
}
