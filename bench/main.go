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
	weft     string          // directory of weft and weft-proxy
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
	fs.StringVar(&o.weft, "weft", "bin", "`DIR` of weft and weft-proxy")
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
	o.weft, err = filepath.Abs(o.weft)
	return o, err
}

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
