package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// judged is a report of one scenario with these figures.
func judged(t *testing.T, bars []bar, figures map[string][]float64) (*report, *table) {
	t.Helper()
	r := &report{Rounds: 3}
	tab := r.begin(scenario{name: "h1", about: "a hop", unit: "us", bars: bars})
	for _, name := range []string{"weft", "nginx", "haproxy", "envoy"} {
		for _, v := range figures[name] {
			tab.add(name, v)
		}
	}
	tab.judge()
	return r, tab
}

func TestBars(t *testing.T) {
	peers := []string{"nginx", "haproxy"}
	figures := map[string][]float64{"weft": {9, 100, 8}, "nginx": {12, 11, 10}, "haproxy": {10, 10, 1}, "envoy": {40, 36, 30}}
	for _, c := range []struct {
		name string
		bar  bar
		want result
	}{
		{"the better peer counts, by medians", bar{peers, 1.00}, result{"haproxy", 0.9, 1.00, true}},
		{"equal is met", bar{peers, 0.90}, result{"haproxy", 0.9, 0.90, true}},
		{"above", bar{peers, 0.89}, result{"haproxy", 0.9, 0.89, false}},
		{"one peer", bar{[]string{"envoy"}, 0.30}, result{"envoy", 0.25, 0.30, true}},
		{"by itself", bar{nil, 20}, result{"", 9, 20, true}},
		{"by itself, above", bar{nil, 8}, result{"", 9, 8, false}},
	} {
		_, tab := judged(t, []bar{c.bar}, figures)
		if len(tab.Bars) != 1 || tab.Bars[0] != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, tab.Bars, c.want)
		}
	}
}

func TestBarsWithoutWhatTheyCompare(t *testing.T) {
	if _, tab := judged(t, []bar{{[]string{"envoy"}, 0.3}}, map[string][]float64{"weft": {9}}); len(tab.Bars) != 0 {
		t.Errorf("compared with nobody: %+v", tab.Bars)
	}
	if _, tab := judged(t, []bar{{nil, 20}}, map[string][]float64{"nginx": {9}}); len(tab.Bars) != 0 {
		t.Errorf("judged a Weft that did not run: %+v", tab.Bars)
	}
}

func TestVerdict(t *testing.T) {
	figures := map[string][]float64{"weft": {9}, "nginx": {10}}
	r, _ := judged(t, []bar{{[]string{"nginx"}, 1.0}}, figures)
	if err := r.verdict(&strings.Builder{}); err != nil {
		t.Errorf("all bars are met: %v", err)
	}
	r, _ = judged(t, []bar{{[]string{"nginx"}, 1.0}, {nil, 5}}, figures)
	var said strings.Builder
	if err := r.verdict(&said); !errors.Is(err, errBars) || !strings.Contains(said.String(), "1 of 2") {
		t.Errorf("got %v and %q", err, said.String())
	}
}

func TestPrintSaysWhoIsMissing(t *testing.T) {
	r, tab := judged(t, []bar{{[]string{"nginx"}, 0.5}}, map[string][]float64{"weft": {9, 7}, "nginx": {10}})
	tab.missing = []missing{{"envoy", errMissing{"envoy"}}}
	var said strings.Builder
	r.print(&said, "h1")
	for _, want := range []string{"h1: a hop (us)", "8.00", "7.00 to 9.00", "envoy is not installed", "0.80 x nginx", "NOT MET"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in:\n%s", want, said.String())
		}
	}
}

func TestWrite(t *testing.T) {
	r, tab := judged(t, []bar{{[]string{"nginx"}, 1}}, map[string][]float64{"weft": {9, 8, 7}, "nginx": {10}})
	tab.missing = []missing{{"haproxy", errMissing{"haproxy"}}}
	tab.judge()
	path := filepath.Join(t.TempDir(), "new", "figures.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	got := back.Tables[0]
	if len(got.Figures["weft"]) != 3 || got.Medians["weft"] != 8 || len(got.Bars) != 1 || got.Missing["haproxy"] == "" {
		t.Errorf("read back %+v", got)
	}
}
