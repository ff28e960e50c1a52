package demo

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/weft-mesh/weft/samples"
)

func TestDescriptionsOfSamplesLoad(t *testing.T) {
	for _, name := range Names() {
		files, err := samples.Demo(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Load(files)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.Name != name || len(d.Commands) != 5 {
			t.Errorf("%s: name %q, %d commands; want five to try", name, d.Name, len(d.Commands))
		}
		c := d.Check
		if c.Split == nil || c.Header == nil || c.Shift == nil || c.Apply == nil || c.Outage == nil || c.Endpoint == nil || len(c.Edges) == 0 {
			t.Errorf("%s: a check is left out: %+v", name, c)
		}
	}
	if _, err := samples.Demo("emoji"); err == nil || !strings.Contains(err.Error(), "bookinfo") {
		t.Errorf("unknown demo: %v, want an error that names what there is", err)
	}
}

const goodDescription = `
name: x
namespace: default
services:
  - {name: a, version: v1, account: a, port: 80, protocol: http, command: ["${BIN}/x", "${PORT}"]}
load: {service: load, account: load, url: http://a/, rps: 1}
routes: [r.yaml]
`

func load(text string) error {
	_, err := Load(fs.FS(fstest.MapFS{"demo.yaml": {Data: []byte(text)}, "r.yaml": {}}))
	return err
}

func TestBadDescriptions(t *testing.T) {
	if err := load(goodDescription); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"rps: 1}", "rsp: 1}", `unknown field "rsp"`},
		{"port: 80", "port: 70000", "port"},
		{"port: 80", "port: 0", "services[0].port: wants 1 to 65535"},
		{"protocol: http", "protocol: smtp", `unknown protocol "smtp"`},
		{"${PORT}", "${PROT}", "${PROT}"},
		{"account: a,", "", "services[0].name: wants a name and an account"},
		{"port: 80,", "port: 80, replicas: 99,", "wants 1 to 16, has 99"},
		{"rps: 1}", "rps: 1e9}", "load.rps"},
		{"[r.yaml]", "[s.yaml]", "routes[0]"},
		{"routes:", "check: {edges: [{from: a, to: b}]}\nroutes:", "a -> b names a service that is not described"},
		{"routes:", "check: {split: {route: q.yaml, answer: x}}\nroutes:", `"q.yaml" is not among routes`},
		{"routes:", "check: {split: {route: r.yaml, answer: x}}\nroutes:", "one group"},
		{"name: x", "name: ''", "name is missing"},
	} {
		text := strings.Replace(goodDescription, c.from, c.to, 1)
		if err := load(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s -> %s: %v, want %q", c.from, c.to, err, c.want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("a${PORT}b")
	f.Add("${${PORT}}")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := expand(s, map[string]string{"PORT": "1"}); err == nil && strings.Contains(got, "${") {
			t.Errorf("%q became %q", s, got)
		}
	})
}
