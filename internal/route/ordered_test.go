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

func text(p string) model.Match {
	return model.Match{Path: model.PathMatch{Type: model.TextPrefix, Value: p}}
}

func fold(m model.Match) model.Match {
	m.Path.Fold = true
	return m
}

func more(m model.MoreMatch) model.Match { return model.Match{More: &m} }

func ordered(t testing.TB, client *model.Workload, rules ...model.Rule) *Table {
	t.Helper()
	table, err := CompileWith(rules, Options{Ordered: true, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestMoreConditions decides single conditions that the Gateway API does not have.
func TestMoreConditions(t *testing.T) {
	value := func(kind model.MatchType, v string) *model.ValueMatch { return &model.ValueMatch{Type: kind, Value: v} }
	field := func(name string, kind model.MatchType, v string, not bool) model.Match {
		return model.Match{Headers: []model.ValueMatch{{Name: name, Type: kind, Value: v, Not: not}}}
	}
	query := func(kind model.MatchType, v string, not bool) model.Match {
		return model.Match{Query: []model.ValueMatch{{Name: "a b", Type: kind, Value: v, Not: not}}}
	}
	secure := head("GET", "/")
	secure.Scheme = "https"
	unknown := head("GET", "/")
	unknown.Scheme = ""
	for _, c := range []struct {
		name string
		m    model.Match
		h    *message.Head
		want bool
	}{
		{"text prefix", text("/a"), head("GET", "/ab"), true},
		{"text prefix with slash", text("/a/"), head("GET", "/a"), false},
		{"text prefix, other case", text("/a"), head("GET", "/Ab"), false},
		{"text prefix of everything", text("/"), head("OPTIONS", "*"), true},
		{"text prefix in any case", fold(text("/A/b")), head("GET", "/a/Bc"), true},
		{"exact in any case", fold(exact("/A/b")), head("GET", "/a/B"), true},
		{"exact in any case, longer", fold(exact("/A/b")), head("GET", "/a/Bc"), false},
		{"prefix in any case", fold(prefix("/A")), head("GET", "/a/x"), true},
		{"prefix in any case, within an element", fold(prefix("/A")), head("GET", "/ab"), false},
		{"regex in any case", fold(regex("/a|/b")), head("GET", "/B"), true},
		{"letters outside ASCII keep their case", fold(exact("/\u00c9")), head("GET", "/\u00e9"), false},
		{"header prefix", field("v", model.TextPrefix, "ab", false), head("GET", "/", "v", "abc"), true},
		{"header prefix fails", field("v", model.TextPrefix, "ab", false), head("GET", "/", "v", "a"), false},
		{"header prefix over repeated fields", field("v", model.TextPrefix, "a,b", false), head("GET", "/", "v", "a", "v", "b"), true},
		{"header present", field("v", model.Present, "", false), head("GET", "/", "v", ""), true},
		{"header present twice", field("v", model.Present, "", false), head("GET", "/", "v", "a", "v", "b"), true},
		{"header not present", field("v", model.Present, "", false), head("GET", "/"), false},
		{"host is present", field("host", model.Present, "", false), head("GET", "/"), true},
		{"header absent", field("v", model.Present, "", true), head("GET", "/"), true},
		{"header absent fails", field("v", model.Present, "", true), head("GET", "/", "v", "x"), false},
		{"header has another value", field("v", model.Exact, "a", true), head("GET", "/", "v", "b"), true},
		{"header has none of the values", field("v", model.Exact, "a", true), head("GET", "/"), true},
		{"header has the value", field("v", model.Exact, "a", true), head("GET", "/", "v", "a"), false},
		{"header does not match", field("v", model.Regex, "a+", true), head("GET", "/", "v", "aa"), false},
		{"query present", query(model.Present, "", false), head("GET", "/?x=1&a+b"), true},
		{"query not present", query(model.Present, "", false), head("GET", "/?a=1"), false},
		{"query prefix, decoded", query(model.TextPrefix, "/x", false), head("GET", "/?a%20b=%2fxyz"), true},
		{"query prefix, too short", query(model.TextPrefix, "/x", false), head("GET", "/?a%20b=%2f"), false},
		{"query prefix of nothing", query(model.TextPrefix, "", false), head("GET", "/?a+b"), true},
		{"query not", query(model.Exact, "1", true), head("GET", "/"), true},
		{"port", more(model.MoreMatch{Port: 80}), head("GET", "/"), true},
		{"other port", more(model.MoreMatch{Port: 81}), head("GET", "/"), false},
		{"scheme", more(model.MoreMatch{Scheme: value(model.Exact, "https")}), secure, true},
		{"other scheme", more(model.MoreMatch{Scheme: value(model.Exact, "https")}), head("GET", "/"), false},
		{"a scheme the codec could not know", more(model.MoreMatch{Scheme: value(model.TextPrefix, "http")}), unknown, true},
		{"authority with its port", more(model.MoreMatch{Authority: value(model.Exact, "reviews:9080")}), head("GET", "/"), true},
		{"authority by regex", more(model.MoreMatch{Authority: value(model.Regex, "reviews(:.*)?")}), head("GET", "/"), true},
		{"other authority", more(model.MoreMatch{Authority: value(model.TextPrefix, "Rev")}), head("GET", "/"), false},
		{"method by prefix", more(model.MoreMatch{Method: value(model.TextPrefix, "P")}), head("PATCH", "/"), true},
		{"method by regex", more(model.MoreMatch{Method: value(model.Regex, "GET|HEAD")}), head("POST", "/"), false},
	} {
		for _, order := range []bool{false, true} {
			table, err := CompileWith([]model.Rule{{Matches: []model.Match{c.m}}}, Options{Ordered: order})
			if err != nil {
				t.Fatal(c.name, err)
			}
			if _, _, ok := table.Match(c.h, 80); ok != c.want {
				t.Errorf("%s (ordered %v): %v", c.name, order, ok)
			}
			v := table.Explain(c.h, 80)[0]
			if v.Chosen != c.want || v.Reason == "" || strings.Contains(v.Reason, "%!") {
				t.Errorf("%s: %+v", c.name, v)
			}
		}
	}
}

func TestSourceIsDecidedForTheClient(t *testing.T) {
	client := &model.Workload{Service: model.ServiceName{Namespace: "shop", Name: "page"}, Labels: map[string]string{"version": "v1"}}
	source := func(namespace string, labels ...string) *model.SourceMatch {
		s := &model.SourceMatch{Namespace: namespace, Labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			s.Labels[labels[i]] = labels[i+1]
		}
		return s
	}
	for _, c := range []struct {
		client *model.Workload
		source *model.SourceMatch
		why    string
	}{
		{client, source("shop"), ""},
		{client, source("", "version", "v1"), ""},
		{client, source("shop", "version", "v1", "app", "page"), ""},
		{client, source("other"), "the client is of namespace shop, rule wants other"},
		{client, source("", "app", "reviews"), `the client's label app is "page", rule wants exact "reviews"`},
		{client, source("", "version", "v1", "zone", "a"), `the client's label zone is absent, rule wants exact "a"`},
		{nil, source("shop"), "it is for clients of its own, and the client is not known here"},
	} {
		table := ordered(t, c.client, model.Rule{Matches: []model.Match{more(model.MoreMatch{Source: c.source})}}, model.Rule{})
		rule, _, _ := table.Match(head("GET", "/"), 80)
		v := table.Explain(head("GET", "/"), 80)[0]
		if (rule == 0) != (c.why == "") || c.why != "" && v.Reason != c.why {
			t.Errorf("%+v: rule %d, %q", c.source, rule, v.Reason)
		}
	}
}

func TestOrderedTakesTheFirst(t *testing.T) {
	table := ordered(
		t, nil,
		model.Rule{Matches: []model.Match{text("/a"), regex("/z.*")}},                    // 0
		model.Rule{Matches: []model.Match{exact("/a/b"), exact("/x")}},                   // 1: the second only
		model.Rule{Hosts: []string{"*.example.com"}, Matches: []model.Match{text("/h")}}, // 2
		model.Rule{Matches: []model.Match{fold(exact("/q"))}},                            // 3
		model.Rule{Matches: []model.Match{prefix("/q"), prefix("/m")}},                   // 4
		model.Rule{}, // 5
		model.Rule{Hosts: []string{"tls.x"}, Port: 443}, // 6: of another port, so it hides nothing
	)
	for _, c := range []struct {
		host, path  string
		rule, match int
		ok          bool
	}{
		{"", "/a/b", 0, 0, true},
		{"", "/x", 1, 1, true},
		{"", "/zzz", 0, 1, true},
		{"", "/Q", 3, 0, true},
		{"", "/q", 3, 0, true},
		{"", "/q/r", 4, 0, true},
		{"", "/m/n", 4, 1, true},
		{"", "/none", 5, -1, true},
		{"x.example.com", "/hello", 2, 0, true},
		{"tls.x", "/none", 5, -1, true},
		{"x.example.com", "/a", 0, 0, false}, // the host's own rules stand alone
	} {
		h := head("GET", c.path)
		if c.host != "" {
			h.Authority = c.host
		}
		rule, match, ok := table.Match(h, 80)
		if rule != c.rule || ok && match != c.match || ok != c.ok {
			t.Errorf("%s%s: rule %d match %d %v", c.host, c.path, rule, match, ok)
		}
	}
	var got []string
	for _, v := range table.Explain(head("GET", "/x"), 80) {
		got = append(got, fmt.Sprintf("%d.%d %v %s", v.Rule, v.Match, v.Chosen, v.Reason))
	}
	want := []string{
		`6.-1 false port is 80, rule wants 443`,
		`2.0 false host is "reviews:9080", rule wants "*.example.com"`,
		`0.0 false path is "/x", rule wants text prefix "/a"`,
		`0.1 false path is "/x", rule wants regex "/z.*"`,
		`1.0 false path is "/x", rule wants exact "/a/b"`,
		`1.1 true matches path exact "/x"`,
		`3.0 false path is "/x", rule wants exact "/q" in any letter case`,
		`4.0 false path is "/x", rule wants prefix "/q"`,
		`4.1 false path is "/x", rule wants prefix "/m"`,
		`5.-1 false comes after rule 1 match 1, which matches too`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	h := head("GET", "/a")
	h.Authority = "x.example.com"
	if v := table.Explain(h, 80)[2]; v.Reason != `the host "x.example.com" has rules of its own, which stand alone` {
		t.Error(v)
	}
}

// TestOrderedAgainstScan compares the index with trying one match after another.
func TestOrderedAgainstScan(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	paths := []string{"/", "/a", "/a/b", "/A/B", "/ab", "/abc/d", "/b"}
	kinds := []model.MatchType{model.Exact, model.Prefix, model.TextPrefix, model.Regex}
	for range 500 {
		var rules []model.Rule
		for range 1 + random.IntN(6) {
			var r model.Rule
			for range random.IntN(3) {
				m := model.Match{Path: model.PathMatch{Type: kinds[random.IntN(4)], Value: paths[random.IntN(len(paths))], Fold: random.IntN(3) == 0}}
				if random.IntN(3) == 0 {
					m.Method = "POST"
				}
				r.Matches = append(r.Matches, m)
			}
			rules = append(rules, r)
		}
		table := ordered(t, nil, rules...)
		for _, p := range paths {
			h := head([]string{"GET", "POST"}[random.IntN(2)], p)
			want := -1
			for i := range rules {
				if _, _, ok := ordered(t, nil, rules[i]).Match(h, 80); ok {
					want = i
					break
				}
			}
			got, _, ok := table.Match(h, 80)
			if !ok {
				got = -1
			}
			if got != want {
				t.Fatalf("%s %s: rule %d, want %d of %+v", h.Method, p, got, want, rules)
			}
		}
	}
}

func TestOrderedAllocatesNothing(t *testing.T) {
	v := &model.ValueMatch{Type: model.TextPrefix, Value: "http"}
	m := fold(text("/A/"))
	m.Headers = []model.ValueMatch{{Name: "x", Type: model.Present}, {Name: "y", Value: "1", Not: true}}
	m.Query = []model.ValueMatch{{Name: "q", Type: model.TextPrefix, Value: "a b"}}
	m.More = &model.MoreMatch{Port: 80, Scheme: v, Authority: &model.ValueMatch{Type: model.Regex, Value: "rev.*"}}
	table := ordered(t, nil, model.Rule{Matches: []model.Match{exact("/none"), text("/zz"), regex("/b.*")}}, model.Rule{Matches: []model.Match{m}})
	h := head("GET", "/a/b?q=a+b%20c", "x", "")
	if rule, _, ok := table.Match(h, 80); !ok || rule != 1 {
		t.Fatal(rule, ok)
	}
	if n := testing.AllocsPerRun(100, func() { table.Match(h, 80) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestChangeText(t *testing.T) {
	for _, c := range []struct{ text, value, path, want string }{
		{"/a", "/b", "/ab?x=/a", "/bb?x=/a"},
		{"/A/", "/", "/a/x", "/x"},
		{"/", "/x", "/foo", "/xfoo"},
		{"/a", "", "/a", "/"},
		{"/a/b", "/c", "/a", "/c/a"},
	} {
		change, err := CompilePathChange(&model.PathChange{Type: model.ChangeText, Text: c.text, Value: c.value})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(change.Append(nil, c.path, "")); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
