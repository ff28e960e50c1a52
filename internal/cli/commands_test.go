package cli

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// TestRequests checks what commands ask for.
func TestRequests(t *testing.T) {
	f := &fake{}
	w := world{socket: f.serve(t), stdin: routeYAML}
	w.weft(t, "apply", "-f", "-", "--dry-run", "--strict")
	if d := f.applied.GetDocuments(); len(d) != 1 || d[0].GetFile() != "stdin" || d[0].GetText() != routeYAML || !f.applied.GetDryRun() || !f.applied.GetStrict() {
		t.Errorf("apply: %v", f.applied)
	}
	w.weft(t, "delete", "httproutes.gateway.networking.k8s.io", "reviews", "nosuch", "--ignore-not-found")
	if r := f.deleted.GetResources(); len(r) != 1 || r[0].GetKind() != "HTTPRoute" || !f.deleted.GetIgnoreMissing() {
		t.Errorf("delete: %v", f.deleted)
	}
	w.weft(t, "stat", "--from", "productpage.shop", "-A")
	if m := f.stat.GetMatch(); m["direction"] != "outbound" || m["source"] != "shop/productpage" || f.stat.GetNamespace() != "" {
		t.Errorf("stat: %v", f.stat)
	}
	w.weft(t, "tap", "svc/productpage", "--to", "shop/reviews", "--method", "get", "--path", "/r", "--max-rps", "5")
	if x := f.tap.GetFilter(); x.GetWorkload() != "default/productpage" || x.GetTo() != "shop/reviews" || x.GetMethod() != "GET" || x.GetPathPrefix() != "/r" || f.tap.GetMaxRps() != 5 {
		t.Errorf("tap: %v", f.tap)
	}
	w.weft(t, "explain", "reviews:9080", "--from", "productpage", "-H", "End-User: jason", "-H", "x=a=b")
	h := f.explain.GetHeaders()
	if f.explain.GetTo() != "reviews.default:9080" || f.explain.GetFrom() != "default/productpage" || len(h) != 2 ||
		h[0].GetName() != "end-user" || h[0].GetValue() != "jason" || h[1].GetValue() != "a=b" {
		t.Errorf("explain: %v", f.explain)
	}
	w.weft(t, "explain", "--id", "abc")
	if f.explain.GetRequestId() != "abc" || f.explain.GetTo() != "" {
		t.Errorf("explain --id: %v", f.explain)
	}
}

func TestApplyDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "c.json", "notes.txt", "sub/d.yaml"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("kind: X\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for flag, want := range map[string]string{"--recursive=false": "a.yml b.yaml c.json", "-R": "a.yml b.yaml c.json d.yaml"} {
		f := &fake{}
		world{socket: f.serve(t)}.weft(t, "apply", "-f", dir, flag)
		var got []string
		for _, d := range f.applied.GetDocuments() {
			got = append(got, filepath.Base(d.GetFile()))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", flag, got, want)
		}
	}
}

// TestServer reaches a control plane over TLS with a token.
func TestServer(t *testing.T) {
	f := &fake{}
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewAdminServiceHandler(f))
	s := httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // one client below refuses the certificate
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := world{stdin: routeYAML}
	if r := w.weft(t, "apply", "-f", "-", "--server", s.URL, "--ca", ca, "--token-file", token); r.code != ExitOK || f.auth != "Bearer s3cret" {
		t.Errorf("%+v, Authorization %q", r, f.auth)
	}
	if r := w.weft(t, "tap", "--server", s.URL, "--ca", ca, "--token-file", token); !strings.Contains(r.out, "req id=4bf92f35") {
		t.Errorf("tap: %+v", r)
	}
	if r := w.weft(t, "get", "--server", s.URL); r.code != ExitUnavailable || !strings.Contains(r.err, "certificate") {
		t.Errorf("a server of an unknown CA: %+v", r)
	}
}

func TestTop(t *testing.T) {
	f := &fake{}
	r := world{socket: f.serve(t)}.weft(t, "top", "--once", "--interval", "1m")
	// A stream that ends by itself is an error.
	if r.code != ExitUnavailable {
		t.Errorf("%+v", r)
	}
	w := world{socket: (&fake{hold: true}).serve(t)}
	if r := w.weft(t, "top", "--once", "--interval", "200ms"); r.code != ExitOK || !strings.Contains(r.out, "productpage   reviews") {
		t.Errorf("top --once: %+v", r)
	}
	if r := w.weft(t, "top", "--once", "--interval", "200ms", "-o", "json"); r.code != ExitOK || !strings.Contains(r.out, `"path": "/reviews/0"`) {
		t.Errorf("top --once -o json: %+v", r)
	}
	data := newTopData(scope{namespace: "default"})
	for i := range 3 {
		data.add(&discoveryv1.TapEvent{Direction: "outbound", Source: "default/productpage", Destination: "default/reviews", Method: "GET", Path: fmt.Sprintf("/reviews/0?n=%d", i), Status: 200, Seconds: 0.001 * float64(i+1)})
	}
	data.add(&discoveryv1.TapEvent{Direction: "outbound", Source: "default/productpage", Service: "shop/cart", Method: "POST", Path: "/x", Status: 503, Failure: "UF", Seconds: 0.25})
	data.add(&discoveryv1.TapEvent{Direction: "inbound", Source: "default/productpage", Destination: "default/reviews", Tls: "mutual", Method: "GET", Path: "/reviews/0", Status: 200})
	data.add(&discoveryv1.TapEvent{Direction: "inbound", Destination: "default/productpage", Tls: "none", Method: "GET", Path: "/", Status: 499, Failure: "DC", Seconds: 0.001})
	golden(t, filepath.Join("testdata", "golden", "top.txt"), data.table(0).String())
	for i := range 2 * maxTopRows {
		data.add(&discoveryv1.TapEvent{Direction: "outbound", Path: fmt.Sprint(i)})
	}
	if len(data.rows) != maxTopRows {
		t.Errorf("%d rows kept, want %d", len(data.rows), maxTopRows)
	}
}

// TestTopLive runs the live view on a pipe in place of a terminal: it draws, and ends with the stream.
func TestTopLive(t *testing.T) {
	w := world{socket: (&fake{}).serve(t), terminal: true, env: map[string]string{"TERM": "xterm"}}
	r := w.weft(t, "top", "--interval", "100ms")
	if r.code != ExitUnavailable || !strings.Contains(r.err, "ended the stream") {
		t.Errorf("%+v", r)
	}
	m := &topModel{data: newTopData(scope{}), width: 20, height: 10}
	m.data.add(&discoveryv1.TapEvent{Direction: "outbound", Path: "/" + strings.Repeat("x", 100)})
	if v := m.View(); !strings.Contains(v.Content, "Source") || !v.AltScreen {
		t.Errorf("view: %q", v.Content)
	}
}

func TestTapEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &fake{}
	socket := f.serve(t)
	var out, errs strings.Builder
	code := New(Options{Stdout: &out, Stderr: &errs, Stdin: strings.NewReader("")}).Execute(ctx, []string{"tap", "--socket", socket})
	if code != ExitOK {
		t.Errorf("Ctrl-C in tap: exit status %d, stderr %q", code, errs.String())
	}
	if code := New(Options{Stdout: &out, Stderr: &errs, Stdin: strings.NewReader("")}).Execute(ctx, []string{"get", "--socket", socket}); code != exitInterrupted {
		t.Errorf("Ctrl-C in get: exit status %d, stderr %q", code, errs.String())
	}
}

// interrupter ends a context at the first write, as Ctrl-C does in the middle of a stream.
type interrupter struct {
	strings.Builder
	cancel context.CancelFunc
}

func (i *interrupter) Write(b []byte) (int, error) {
	i.cancel()
	return i.Builder.Write(b)
}

func TestTapInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &interrupter{cancel: cancel}
	var errs strings.Builder
	socket := (&fake{hold: true}).serve(t)
	code := New(Options{Stdout: out, Stderr: &errs, Stdin: strings.NewReader("")}).Execute(ctx, []string{"tap", "--socket", socket})
	if code != ExitOK || errs.Len() > 0 || !strings.HasPrefix(out.String(), "req id=") {
		t.Errorf("exit status %d, stderr %q, stdout %q", code, errs.String(), out.String())
	}
}

func TestCompletion(t *testing.T) {
	w := world{socket: (&fake{}).serve(t)}
	for args, want := range map[string]string{
		"get":                    "httproutes\nservices\nendpoints\nproxies",
		"get httproute":          "reviews",
		"describe svc":           "ratings\nreviews",
		"proxy-config dump":      "productpage-1\nreviews-v1-a",
		"stat -o":                "table\nwide\njson\nyaml",
		"explain --from":         "ratings\nreviews",
		"get services -n":        "default",
		"completion":             "bash\nzsh\nfish\npowershell",
		"delete httproute -f - ": "reviews",
	} {
		r := w.weft(t, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if !strings.HasPrefix(r.out, want+"\n") {
			t.Errorf("weft %s TAB: %q, want %q", args, r.out, want)
		}
	}
	if r := (world{socket: "/nosuch"}).weft(t, "__complete", "get", "httproute", ""); r.code != ExitOK || !strings.HasPrefix(r.out, ":4") {
		t.Errorf("without a control plane: %+v", r)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := w.weft(t, "completion", shell); r.code != ExitOK || !strings.Contains(r.out, "weft") {
			t.Errorf("completion %s: exit status %d", shell, r.code)
		}
	}
}

func TestCheck(t *testing.T) {
	healthy := somewhatSickProxies()[:1]
	for name, f := range map[string]*fake{
		"sick": {}, "none": {proxies: []*adminv1.ProxyInfo{}}, "well": {proxies: healthy},
	} {
		w := world{socket: f.serve(t), terminal: true, env: map[string]string{"LC_ALL": "en_US.UTF-8"}}
		r := w.weft(t, "check")
		// The host is this machine's: its lines differ from one to the next.
		out := regexp.MustCompile(`(?s)weft-host\n.*?\n\n`).ReplaceAllString(r.out, "weft-host\n...\n\n")
		golden(t, filepath.Join("testdata", "golden", "check-"+name+".txt"), fmt.Sprintf("%s-- exit status %d\n", out, r.code))
	}
	r := world{socket: "/nosuch/socket"}.weft(t, "check")
	if r.code != ExitNo || !strings.Contains(r.out, "no control plane is reachable\n    no control plane at /nosuch/socket") || strings.Contains(r.out, categoryData) {
		t.Errorf("without a control plane: %+v", r)
	}
	if r := (world{socket: "/nosuch"}).weft(t, "check", "-o", "json"); r.code != ExitNo || !strings.Contains(r.out, `"anchor": "cli-socket"`) {
		t.Errorf("json: %+v", r)
	}
}

func TestCheckHost(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := uint64(1024)
	h := &host{root: root, capture: func() (string, bool) { return "needs CAP_BPF", false }, files: func() (uint64, error) { return files, nil }}
	statuses := func() string {
		f := &findings{category: categoryHost}
		h.check(f)
		var s []string
		for _, r := range f.results {
			s = append(s, r.GetAnchor()+"="+strings.ToLower(strings.TrimPrefix(r.GetStatus().String(), "STATUS_")))
		}
		return strings.Join(s, " ")
	}
	if got, want := statuses(), "host-kernel=warning host-btf=warning host-cgroup2=warning host-ebpf=warning host-ulimit=warning"; got != want {
		t.Errorf("bare host: %s, want %s", got, want)
	}
	write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
	write("sys/kernel/btf/vmlinux", "")
	write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n")
	files = 65536
	h.capture = func() (string, bool) { return "", true }
	if got, want := statuses(), "host-kernel=ok host-btf=ok host-cgroup2=ok host-ebpf=ok host-ulimit=ok"; got != want {
		t.Errorf("good host: %s, want %s", got, want)
	}
	write("proc/sys/kernel/osrelease", "5.4.0\n")
	if got := statuses(); !strings.HasPrefix(got, "host-kernel=warning") {
		t.Errorf("old kernel: %s", got)
	}
}

func TestCertificates(t *testing.T) {
	f := &findings{}
	p := func(id string, left time.Duration) *adminv1.ProxyInfo {
		return &adminv1.ProxyInfo{Node: &discoveryv1.Node{Id: id, Version: "v1"}, Stats: &discoveryv1.ProxyStats{SvidNotAfter: timestamppb.New(now().Add(left))}}
	}
	checkProxies(f, []*adminv1.ProxyInfo{p("a", -time.Second), p("b", time.Minute), p("c", time.Hour)}, "v1", now())
	var bad []string
	for _, r := range f.results {
		if r.GetStatus() != statusOK {
			bad = append(bad, r.GetStatus().String()+" "+r.GetDetail())
		}
	}
	if got, want := strings.Join(bad, ", "), "STATUS_ERROR a, STATUS_WARNING b in 60s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
