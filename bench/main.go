package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	rounds   int
	seconds  float64
	scenario *regexp.Regexp
	only     map[string]bool // names of proxies; nil is all
	weft     build           // that is measured
	beside   []build         // others, measured beside it
	out      string          // JSON file; "" is none
	list     bool
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if err := child(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench", os.Args[2]+":", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errBars):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(70)
	}
}

func parse(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", 5, "`NUMBER` of rounds; figures are their medians")
	fs.Float64Var(&o.seconds, "seconds", 2, "`SECONDS` of load for each figure of a round")
	scenario := fs.String("scenario", "", "`REGEXP` of the scenarios to run (default all)")
	only := fs.String("proxies", "", "`NAMES` of proxies to run, of weft,nginx,haproxy,envoy (default all)")
	weft := fs.String("weft", "bin", "`DIR` of weft and weft-proxy")
	beside := fs.String("beside", "", "`DIRS` of other builds of them, comma-separated, to measure in the same run")
	fs.StringVar(&o.out, "json", "", "`FILE` for the figures (default bench/results/DATE.json, - is none)")
	fs.BoolVar(&o.list, "list", false, "list the scenarios and end")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if o.scenario, err = regexp.Compile(*scenario); err != nil {
		return nil, fmt.Errorf("-scenario: %w", err)
	}
	if *only != "" {
		o.only = map[string]bool{}
		for _, n := range strings.Split(*only, ",") {
			o.only[n] = true
		}
	}
	if o.rounds < 1 || o.seconds <= 0 || o.seconds > 60 {
		return nil, errors.New("-rounds wants at least 1, -seconds more than 0 and at most 60")
	}
	if o.out == "" {
		o.out = filepath.Join("bench", "results", time.Now().UTC().Format("2006-01-02T150405Z")+".json")
	}
	if o.weft, err = newBuild("weft", *weft); err != nil || *beside == "" {
		return o, err
	}
	for _, dir := range strings.Split(*beside, ",") {
		b, err := newBuild("weft-"+filepath.Base(dir), dir)
		if err != nil {
			return nil, err
		}
		o.beside = append(o.beside, b)
	}
	return o, nil
}

// build is a directory with weft and weft-proxy, and the name it has in tables.
type build struct{ name, dir string }

func newBuild(name, dir string) (build, error) {
	dir, err := filepath.Abs(dir)
	return build{name, dir}, err
}

// builds are all that are measured; the first is what bars are about.
func (o *options) builds() []build { return append([]build{o.weft}, o.beside...) }

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var chosen []scenario
	for _, s := range scenarios() {
		if o.scenario.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if o.list {
		for _, s := range chosen {
			fmt.Printf("%-16s %s\n", s.name, s.about)
		}
		return nil
	}
	if len(chosen) == 0 {
		return errors.New("no scenario matches; -list shows them")
	}
	report := newReport(o)
	for _, s := range chosen {
		if err := s.measure(ctx, o, report); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		report.print(os.Stdout, s.name)
	}
	if o.out != "-" {
		if err := report.write(o.out); err != nil {
			return err
		}
		fmt.Println("figures in", o.out)
	}
	return report.verdict(os.Stdout)
}
