package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

func exact(p string) model.Match {
	return model.Match{Path: model.PathMatch{Type: model.Exact, Value: p}}
}

func prefix(p string) model.Match {
	return model.Match{Path: model.PathMatch{Type: model.Prefix, Value: p}}
}

func regex(p string) model.Match {
	return model.Match{Path: model.PathMatch{Type: model.Regex, Value: p}}
}

func with(m model.Match, change func(*model.Match)) model.Match {
	change(&m)
	return m
}

func header(name, value string) func(*model.Match) {
	return func(m *model.Match) { m.Headers = append(m.Headers, model.ValueMatch{Name: name, Value: value}) }
}

func head(method, path string, fields ...string) *message.Head {
	h := &message.Head{Method: method, Scheme: "http", Authority: "reviews:9080", Path: path, Length: message.Unknown}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func compile(t testing.TB, rules ...model.Rule) *Table {
	t.Helper()
	table, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestPrecedence(t *testing.T) {
	get := func(m *model.Match) { m.Method = "GET" }
	query := func(m *model.Match) { m.Query = append(m.Query, model.ValueMatch{Name: "v", Value: "1"}) }
	rules := []model.Rule{
		{Matches: []model.Match{prefix("/")}},                                   // 0
		{Matches: []model.Match{regex("/a/.*")}},                                // 1
		{Matches: []model.Match{prefix("/a/b")}},                                // 2
		{Matches: []model.Match{prefix("/a/b/c/"), exact("/x")}},                // 3
		{Matches: []model.Match{exact("/a/b/c")}},                               // 4
		{Matches: []model.Match{with(exact("/a/b/c"), get)}},                    // 5
		{Matches: []model.Match{with(prefix("/a/b"), header("end-user", "j"))}}, // 6
		{Matches: []model.Match{with(prefix("/a/b"), query)}},                   // 7
		{Hosts: []string{"*.example.com"}, Matches: []model.Match{prefix("/")}}, // 8
		{Hosts: []string{"api.example.com"}},                                    // 9
		{Port: 81, Matches: []model.Match{exact("/port")}},                      // 10
		{Matches: []model.Match{prefix("/a/b")}},                                // 11: never, 2 is first
	}
	table := compile(t, rules...)
	for _, c := range []struct {
		name        string
		h           *message.Head
		host        string
		port        uint16
		rule, match int
	}{
		{"the root takes the rest", head("GET", "/zzz"), "", 80, 0, 0},
		{"a regex stands above the root", head("GET", "/a/zzz"), "", 80, 1, 0},
		{"a regex matches the whole path", head("GET", "/b/a/zzz"), "", 80, 0, 0},
		{"a prefix stands above a regex", head("GET", "/a/b/x"), "", 80, 2, 0},
		{"a prefix ends with an element", head("GET", "/a/bc"), "", 80, 1, 0},
		{"the longest prefix", head("GET", "/a/b/c/d"), "", 80, 3, 0},
		{"a prefix's slash says nothing", head("POST", "/a/b/c/"), "", 80, 3, 0},
		{"exact above prefix", head("POST", "/a/b/c"), "", 80, 4, 0},
		{"the query is no part of the path", head("POST", "/a/b/c?x=/d"), "", 80, 4, 0},
		{"method breaks the tie", head("GET", "/a/b/c"), "", 80, 5, 0},
		{"headers break the tie", head("GET", "/a/b/x", "end-user", "j"), "", 80, 6, 0},
		{"headers before query", head("GET", "/a/b/x?v=1", "end-user", "j"), "", 80, 6, 0},
		{"query breaks the tie", head("GET", "/a/b/x?v=1"), "", 80, 7, 0},
		{"second match of a rule", head("GET", "/x"), "", 80, 3, 1},
		{"host above path", head("GET", "/a/b/c"), "x.example.com", 80, 8, 0},
		{"a wildcard takes several labels", head("GET", "/a/b/c"), "y.x.example.com:80", 80, 8, 0},
		{"a wildcard wants a label", head("POST", "/a/b/c"), "example.com", 80, 4, 0},
		{"an exact host above a wildcard, in any case", head("GET", "/a/b/c"), "API.Example.com.:8080", 80, 9, -1},
		{"port", head("GET", "/port"), "", 81, 10, 0},
		{"other port", head("GET", "/port"), "", 80, 0, 0},
		{"no path", head("CONNECT", ""), "", 80, 0, 0},
		{"whole server", head("OPTIONS", "*"), "", 80, 0, 0},
	} {
		if c.host != "" {
			c.h.Authority = c.host
		}
		rule, match, ok := table.Match(c.h, c.port)
		if !ok || rule != c.rule || match != c.match {
			t.Errorf("%s: rule %d match %d %v, want rule %d match %d", c.name, rule, match, ok, c.rule, c.match)
		}
	}
}

func TestConditions(t *testing.T) {
	value := func(name string, kind model.MatchType, v string) []model.ValueMatch {
		return []model.ValueMatch{{Name: name, Type: kind, Value: v}}
	}
	ws := head("CONNECT", "/chat")
	ws.Protocol = "websocket"
	sized := head("POST", "/")
	sized.Length = 12
	for _, c := range []struct {
		name string
		m    model.Match
		h    *message.Head
		want bool
	}{
		{"header regex matches the whole value", model.Match{Headers: value("a", model.Regex, "b+")}, head("GET", "/", "a", "xbb"), false},
		{"header regex", model.Match{Headers: value("a", model.Regex, "b+|c")}, head("GET", "/", "a", "bbb"), true},
		{"header name in any case", model.Match{Headers: value("End-User", "", "j")}, head("GET", "/", "end-user", "j"), true},
		{"repeated fields are joined", model.Match{Headers: value("a", model.Exact, "1,2")}, head("GET", "/", "a", "1", "a", "2"), true},
		{"one of the repeated is not the value", model.Match{Headers: value("a", model.Exact, "1")}, head("GET", "/", "a", "1", "a", "2"), false},
		{"absent is not empty", model.Match{Headers: value("a", model.Regex, ".*")}, head("GET", "/"), false},
		{"host is the authority", model.Match{Headers: value("host", model.Exact, "reviews:9080")}, head("GET", "/"), true},
		{"content-length is the length", model.Match{Headers: value("content-length", model.Exact, "12")}, sized, true},
		{"query is decoded", model.Match{Query: value("q", model.Exact, "a b&c")}, head("GET", "/?x=1&q=a+b%26c"), true},
		{"query name is decoded", model.Match{Query: value("a b", model.Exact, "1")}, head("GET", "/?a%20b=1"), true},
		{"the first parameter counts", model.Match{Query: value("q", model.Exact, "2")}, head("GET", "/?q=1&q=2"), false},
		{"query regex", model.Match{Query: value("q", model.Regex, "[0-9]+ ")}, head("GET", "/?q=17%20"), true},
		{"query without value", model.Match{Query: value("q", model.Exact, "")}, head("GET", "/?q"), true},
		{"broken escape stands for itself", model.Match{Query: value("q", model.Exact, "%zz%2")}, head("GET", "/?q=%zz%2"), true},
		{"no query", model.Match{Query: value("q", model.Exact, "1")}, head("GET", "/"), false},
		{"a protocol switch is a GET", model.Match{Method: "GET"}, ws, true},
		{"the method's case counts", model.Match{Method: "GET"}, head("get", "/"), false},
	} {
		table := compile(t, model.Rule{Matches: []model.Match{c.m}})
		if _, _, ok := table.Match(c.h, 80); ok != c.want {
			t.Errorf("%s: %v, want %v", c.name, ok, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	ref := model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "r", Rule: 2, File: "r.yaml", Line: 7}
	for _, c := range []struct {
		rule model.Rule
		want string
	}{
		{model.Rule{Matches: []model.Match{exact("/"), regex("a)(b")}}, "HTTPRoute default/r rule 2 (r.yaml:7): matches[1].path: regular expression \"a)(b\""},
		{model.Rule{Matches: []model.Match{{Headers: []model.ValueMatch{{Name: "x", Type: model.Regex, Value: "["}}}}}, "matches[0].headers[0]: regular expression"},
		{model.Rule{Matches: []model.Match{{Headers: []model.ValueMatch{{Name: "x", Type: model.Prefix}}}}}, "unknown match type \"prefix\""},
		{model.Rule{Matches: []model.Match{{Query: []model.ValueMatch{{}}}}}, "matches[0].query[0]: no name"},
		{model.Rule{Matches: []model.Match{{Path: model.PathMatch{Value: "/x"}}}}, "without a type"},
		{model.Rule{Matches: []model.Match{{Path: model.PathMatch{Type: "glob"}}}}, "unknown match type \"glob\""},
		{model.Rule{Hosts: []string{"a.*.b"}}, "hosts[0]"},
		{model.Rule{Hosts: []string{"a", "*b"}}, "hosts[1]"},
		{model.Rule{Request: model.HeaderMod{Set: []model.HeaderValue{{Name: "transfer-encoding", Value: "chunked"}}}}, "request.set[0]: \"transfer-encoding\" frames"},
		{model.Rule{Response: model.HeaderMod{Add: []model.HeaderValue{{Name: "X"}}}}, "response.add[0]: \"X\""},
		{model.Rule{Backends: []model.Backend{{Request: model.HeaderMod{Add: []model.HeaderValue{{Name: "x", Value: "a\r\nb"}}}}}}, "backends[0].request.add[0]: x: value has the control character"},
	} {
		c.rule.Ref = ref
		if _, err := Compile([]model.Rule{c.rule}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	jason := with(model.Match{}, header("end-user", "jason"))
	rules := []model.Rule{
		{Ref: model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "reviews", File: "r.yaml", Line: 9}, Matches: []model.Match{jason}},
		{Ref: model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "reviews", Rule: 1, File: "r.yaml", Line: 17}},
		{Ref: model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "other", File: "o.yaml", Line: 3}},
		{Matches: []model.Match{with(exact("/p"), func(m *model.Match) { m.Method = "PUT" })}, Hosts: []string{"h"}, Port: 80},
	}
	got := compile(t, rules...).Explain(head("GET", "/"), 80)
	var lines []string
	for _, v := range got {
		lines = append(lines, fmt.Sprintf("%d/%d %v %s", v.Rule, v.Match, v.Chosen, v.Reason))
	}
	want := []string{
		`3/0 false host is "reviews:9080", rule wants "h"`,
		`0/0 false header end-user is absent, rule wants exact "jason"`,
		`1/-1 true takes every request`,
		`2/-1 false less specific than HTTPRoute default/reviews rule 1 (r.yaml:17): as specific, but later`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}

// TestMatchIsFirstOfAll holds the index against the plain definition: the first candidate by precedence
// whose conditions hold.
func TestMatchIsFirstOfAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	paths := []string{"", "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/b//c", "*", "//a", "/a/b?v=1", "/a?v=2"}
	for range 3000 {
		rules := make([]model.Rule, 1+r.IntN(8))
		for i := range rules {
			for range r.IntN(3) {
				rules[i].Hosts = append(rules[i].Hosts, pick("a.b", "*.b", "c.a.b", "*.a.b"))
			}
			rules[i].Port = uint16(r.IntN(2))
			for range r.IntN(4) {
				m := model.Match{Method: pick("", "", "GET", "PUT")}
				switch r.IntN(5) {
				case 0:
				case 1:
					m.Path = model.PathMatch{Type: model.Regex, Value: pick("/a.*", "/.", ".*")}
				case 2:
					m.Path = model.PathMatch{Type: model.Exact, Value: pick(paths[1:8]...)}
				default:
					m.Path = model.PathMatch{Type: model.Prefix, Value: pick(paths[1:8]...)}
				}
				for range r.IntN(3) {
					header(pick("x", "y"), pick("1", "2"))(&m)
				}
				if r.IntN(4) == 0 {
					m.Query = []model.ValueMatch{{Name: "v", Value: pick("1", "2")}}
				}
				rules[i].Matches = append(rules[i].Matches, m)
			}
		}
		table := compile(t, rules...)
		h := head(pick("GET", "PUT"), pick(paths...), "x", pick("1", "2"), "y", pick("1", "2"))
		h.Authority = pick("a.b", "A.B:80", "c.a.b", "d.c.a.b", "z", "")
		req := newRequest(h, 1)
		var want *candidate
		for _, c := range table.order {
			if c.check(&req).holds() {
				want = c
				break
			}
		}
		if got := table.find(h, 1, nil); got != want {
			t.Fatalf("rules %+v\nhead %+v\ngot %v, want %v", rules, h, got, want)
		}
		chosen := 0
		for _, v := range table.Explain(h, 1) {
			if v.Chosen {
				chosen++
			}
			if v.Reason == "" {
				t.Fatalf("no reason: %+v", v)
			}
		}
		if (chosen == 1) != (want != nil) || chosen > 1 {
			t.Fatalf("%d chosen, match %v", chosen, want)
		}
	}
}

func TestPickBackend(t *testing.T) {
	r := &model.Rule{Backends: []model.Backend{{Weight: 90}, {Weight: 0}, {Weight: 10}}}
	rnd := rand.New(rand.NewPCG(3, 4))
	var n [3]int
	for range 100_000 {
		n[PickBackend(r, rnd.Uint64())]++
	}
	if n[1] != 0 || n[2] < 9600 || n[2] > 10400 {
		t.Errorf("shares %v of 90/0/10", n)
	}
	for _, random := range []uint64{0, 1 << 63, ^uint64(0)} {
		if got := PickBackend(&model.Rule{Backends: []model.Backend{{}, {}}}, random); got != -1 {
			t.Errorf("no weight: %d", got)
		}
		if got := PickBackend(&model.Rule{Backends: []model.Backend{{}, {Weight: 1}}}, random); got != 1 {
			t.Errorf("one weight: %d", got)
		}
	}
	if got := PickBackend(&model.Rule{}, 7); got != -1 {
		t.Errorf("no backend: %d", got)
	}
}

func TestApply(t *testing.T) {
	h := head("GET", "/", "a", "1", "b", "1", "a", "2", "c", "1")
	Apply(&model.HeaderMod{
		Set:    []model.HeaderValue{{Name: "a", Value: "3"}, {Name: "new", Value: "x"}, {Name: "host", Value: "other"}},
		Add:    []model.HeaderValue{{Name: "b", Value: "2"}, {Name: "host", Value: "no"}},
		Remove: []string{"c", "host", "absent"},
	}, h)
	want := []message.Field{{Name: "a", Value: "3"}, {Name: "b", Value: "1"}, {Name: "new", Value: "x"}, {Name: "b", Value: "2"}}
	if d := cmp.Diff(want, h.Fields); d != "" || h.Authority != "other" {
		t.Error(d, h.Authority)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	rules := append(manyRules(100),
		model.Rule{Hosts: []string{"*.example.com", "api.shop.example.com"}, Matches: []model.Match{exact("/"), prefix("/zzz")}},
		model.Rule{Matches: []model.Match{
			with(prefix("/none"), header("end-user", "jack")),
			{Path: model.PathMatch{Type: model.Regex, Value: "/no.*"}, Headers: []model.ValueMatch{{Name: "x", Type: model.Regex, Value: "z+"}}},
			{Query: []model.ValueMatch{{Name: "v", Value: "2"}}},
			{Query: []model.ValueMatch{{Name: "w", Type: model.Regex, Value: "[34]"}}},
		}})
	table := compile(t, rules...)
	h := head("GET", "/none/of/them?v=%31&w=2", "end-user", "jason", "x", "y")
	h.Authority = "API.shop.example.com:8080"
	if n := testing.AllocsPerRun(100, func() { table.Match(h, 80) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMatch(f *testing.F) {
	table := compile(f, manyRules(20)...)
	f.Add("GET", "/a/b?x=%41&y", "h.example.com:80", "v")
	f.Add("", "", "[::1]:80", "")
	f.Fuzz(func(t *testing.T, method, path, authority, value string) {
		h := head(method, path, "end-user", value)
		h.Authority = authority
		rule, match, ok := table.Match(h, 80)
		for _, v := range table.Explain(h, 80) {
			if v.Chosen && (!ok || v.Rule != rule || v.Match != match) {
				t.Fatalf("explain chose %+v, match %d/%d %v", v, rule, match, ok)
			}
		}
	})
}

// manyRules makes a table as large meshes have: exact paths, prefixes, methods, a few hosts.
func manyRules(n int) []model.Rule {
	rules := []model.Rule{
		{Matches: []model.Match{with(exact("/api/v1/products/17/reviews"), func(m *model.Match) { m.Method = "GET" })}},
	}
	for i := 1; i < n; i++ {
		m := exact(fmt.Sprintf("/api/v1/exact/%d/list", i))
		switch i % 3 {
		case 1:
			m = prefix(fmt.Sprintf("/api/v1/prefix-%d", i))
		case 2:
			m.Method = "GET"
		}
		rules = append(rules, model.Rule{Matches: []model.Match{m}})
	}
	return rules
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		rules := manyRules(n)
		table := compile(b, rules...)
		h := head("GET", "/api/v1/products/17/reviews?page=2", "user-agent", "b", "accept", "*/*")
		b.Run(fmt.Sprintf("exact/rules=%d", n), func(b *testing.B) { benchmark(b, table, h) })

		rules[0].Matches[0].Path.Type = model.Prefix
		table = compile(b, rules...)
		h = head("GET", "/api/v1/products/17/reviews/3?page=2", "user-agent", "b", "accept", "*/*")
		b.Run(fmt.Sprintf("prefix/rules=%d", n), func(b *testing.B) { benchmark(b, table, h) })
	}
}

func benchmark(b *testing.B, table *Table, h *message.Head) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := table.Match(h, 80); !ok {
			b.Fatal("no match")
		}
	}
}
