package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestRulesLeaveOtherTrafficAlone has rules of one layer, or of one port, take nothing that is not theirs: it goes to the
// service that was asked for. Where no rule is for the requests of a port, those for bytes take them.
func TestRulesLeaveOtherTrafficAlone(t *testing.T) {
	rule := func(layer model.Layer, port uint16, hosts ...string) model.Rule {
		return model.Rule{
			Ref: model.RuleRef{Kind: "any", Namespace: "default", Name: "a"}, Layer: layer, Port: port, Hosts: hosts,
			Backends: []model.Backend{{Service: name("a"), Port: 80, Weight: 1}},
		}
	}
	requests := rule(model.Requests, 0)
	requests.Matches = []model.Match{{Path: model.PathMatch{Type: model.Exact, Value: "/a"}}}
	here, elsewhere := requests, requests
	here.Port, elsewhere.Port = 80, 81
	for _, c := range []struct {
		what  string
		rules []model.Rule
		path  string
		want  string // who answers, or a status
		bytes string // who gets bytes
	}{
		{"no rules", nil, "/a", "web", "web"},
		{"requests", []model.Rule{requests}, "/a", "a", "web"},
		{"other requests", []model.Rule{requests}, "/b", "404", "web"},
		{"requests of the port", []model.Rule{here}, "/b", "404", "web"},
		{"requests of another port", []model.Rule{elsewhere}, "/b", "web", "web"},
		{"names", []model.Rule{rule(model.ServerNames, 0, "a.example")}, "/a", "web", "web"},
		{"names of another port", []model.Rule{rule(model.ServerNames, 81, "a.example")}, "/a", "web", "web"},
		{"bytes", []model.Rule{rule(model.Bytes, 0)}, "/a", "a", "a"},
		{"bytes of another port", []model.Rule{rule(model.Bytes, 81)}, "/a", "web", "web"},
		{"bytes and requests", []model.Rule{rule(model.Bytes, 80), requests}, "/b", "404", "a"},
		{"bytes, and requests of another port", []model.Rule{rule(model.Bytes, 80), elsewhere}, "/b", "a", "a"},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			e := l.run(Options{Node: "load-1", Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
			service := func(n string) model.Service {
				at := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
					if first, _ := r.Peek(1); string(first) == "G" {
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(n))
					}
					_, _ = io.WriteString(c, n)
				})
				return model.Service{
					Name: name(n), Ports: []model.Port{{Number: 80}, {Number: 81}},
					Endpoints: []model.Endpoint{{ID: n + "-1", Address: at, Plain: true}},
				}
			}
			web := service("web")
			web.Rules = c.rules
			l.apply(e, &model.Snapshot{Services: []model.Service{web, service("a")}})
			at := e.Addrs().Upstreams[0]
			resp, body := ask(t, at, "GET", c.path, "", "host", "web")
			if resp.StatusCode != http.StatusOK {
				body = fmt.Sprint(resp.StatusCode)
			}
			if body != c.want {
				t.Errorf("%s is answered by %q, want %q", c.path, body, c.want)
			}
			raw := dialRaw(t, at)
			raw.send("\x00bytes")
			if got, _ := io.ReadAll(raw.r); string(got) != c.bytes {
				t.Errorf("bytes are answered by %q, want %q", got, c.bytes)
			}
		})
	}
}
