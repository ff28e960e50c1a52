package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// errBars is a run in which Weft was above a bar.
var errBars = errors.New("not all bars are met")

// report is the figures of a run.
type report struct {
	Date    string   `json:"date"`
	CPUs    int      `json:"cpus"`
	Kernel  string   `json:"kernel"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds"`
	Tables  []*table `json:"scenarios"`
}

// table is the figures of one scenario.
type table struct {
	Name    string               `json:"name"`
	About   string               `json:"about"`
	Unit    string               `json:"unit"`
	Figures map[string][]float64 `json:"figures"` // of each round
	Medians map[string]float64   `json:"medians"`
	Bars    []result             `json:"bars,omitempty"`
	Missing map[string]string    `json:"missing,omitempty"`

	order   []string
	missing []missing
	bars    []bar
}

// result is a bar and what was measured.
type result struct {
	Against string  `json:"against,omitempty"` // the best of those that the bar names
	Ratio   float64 `json:"ratio"`             // or the figure itself, where the bar names nobody
	Most    float64 `json:"most"`
	Met     bool    `json:"met"`
}

func newReport(o *options) *report {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return &report{
		Date: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Kernel: strings.TrimSpace(string(kernel)),
		Rounds: o.rounds, Seconds: o.seconds,
	}
}

func (r *report) begin(s scenario) *table {
	t := &table{Name: s.name, About: s.about, Unit: s.unit, Figures: map[string][]float64{}, bars: s.bars}
	r.Tables = append(r.Tables, t)
	return t
}

func (t *table) add(name string, v float64) {
	if t.Figures[name] == nil {
		t.order = append(t.order, name)
	}
	t.Figures[name] = append(t.Figures[name], v)
}

// judge computes medians and compares.
func (t *table) judge() {
	t.Medians = map[string]float64{}
	for name, v := range t.Figures {
		t.Medians[name] = median(v)
	}
	t.Missing = map[string]string{}
	for _, m := range t.missing {
		t.Missing[m.name] = m.why.Error()
	}
	t.Bars = nil
	weft, ok := t.Medians["weft"]
	if !ok {
		return
	}
	for _, b := range t.bars {
		if b.against == nil {
			t.Bars = append(t.Bars, result{Ratio: weft, Most: b.most, Met: weft <= b.most})
			continue
		}
		best, least := "", math.Inf(1)
		for _, name := range b.against {
			if v, ok := t.Medians[name]; ok && v < least {
				best, least = name, v
			}
		}
		if best == "" {
			continue // nobody to compare with: the table says who is missing
		}
		ratio := weft / least
		t.Bars = append(t.Bars, result{Against: best, Ratio: ratio, Most: b.most, Met: ratio <= b.most})
	}
}

// print writes the table of one scenario.
func (r *report) print(w io.Writer, name string) {
	i := slices.IndexFunc(r.Tables, func(t *table) bool { return t.Name == name })
	t := r.Tables[i]
	t.judge()
	fmt.Fprintf(w, "%s: %s (%s)\n", t.Name, t.About, t.Unit)
	for _, n := range t.order {
		v := t.Figures[n]
		fmt.Fprintf(w, "  %-12s %9.2f   %.2f to %.2f\n", n, t.Medians[n], slices.Min(v), slices.Max(v))
	}
	for _, m := range t.missing {
		fmt.Fprintf(w, "  %-12s %s\n", m.name, m.why)
	}
	for _, b := range t.Bars {
		met := "met"
		if !b.Met {
			met = "NOT MET"
		}
		if b.Against == "" {
			fmt.Fprintf(w, "  bar: %.2f, at most %.2f: %s\n", b.Ratio, b.Most, met)
		} else {
			fmt.Fprintf(w, "  bar: %.2f x %s, at most %.2f: %s\n", b.Ratio, b.Against, b.Most, met)
		}
	}
}

// write saves all figures as JSON.
func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// verdict says how many bars are met.
func (r *report) verdict(w io.Writer) error {
	met, all := 0, 0
	for _, t := range r.Tables {
		for _, b := range t.Bars {
			all++
			if b.Met {
				met++
			}
		}
	}
	fmt.Fprintf(w, "%d of %d bars met\n", met, all)
	if met < all {
		return errBars
	}
	return nil
}
