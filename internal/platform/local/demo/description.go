package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of a description.
const (
	maxServices = 64
	maxReplicas = 16
)

// Description is a demo as samples/NAME/demo.yaml writes it.
type Description struct {
	Name      string    `json:"name"`
	Title     string    `json:"title"`
	Namespace string    `json:"namespace"`
	Services  []Service `json:"services"`
	Load      Gentle    `json:"load"`
	Routes    []string  `json:"routes"`   // files handed to the user, relative to the description
	Commands  []Command `json:"commands"` // to try
	Check     Check     `json:"check"`
}

// Service is one version of a service. ${PORT}, ${BIN} and ${REPLICA} in Command are replaced per instance.
type Service struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Account  string   `json:"account"`
	Port     uint16   `json:"port"` // others call it there
	Protocol string   `json:"protocol"`
	Health   string   `json:"health"` // path; "" probes the port
	Replicas int      `json:"replicas"`
	Command  []string `json:"command"`
	Page     string   `json:"page"` // path for a browser, for the service that has one
}

// Gentle is the load that keeps the figures moving.
type Gentle struct {
	Service string  `json:"service"` // the client's name in the mesh
	Account string  `json:"account"`
	URL     string  `json:"url"`
	Reject  string  `json:"reject"`
	RPS     float64 `json:"rps"`
}

// Command is something to try: ${ROUTES} is the folder of the route files.
type Command struct {
	Say string `json:"say"`
	Run string `json:"run"`
}

// Check is what --check proves; see the functions of the same names. A part left out is not checked.
type Check struct {
	Edges    []Edge         `json:"edges"`
	Split    *SplitCheck    `json:"split"`
	Header   *HeaderCheck   `json:"header"`
	Shift    *ShiftCheck    `json:"shift"`
	Apply    *ApplyCheck    `json:"apply"`
	Outage   *OutageCheck   `json:"outage"`
	Endpoint *EndpointCheck `json:"endpoint"`
}

// Edge is a pair of services of the demo that talk.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// SplitCheck: with the route applied, answers are shared as the weights say.
type SplitCheck struct {
	Route    string         `json:"route"`
	URL      string         `json:"url"`
	Answer   string         `json:"answer"` // regular expression whose group is the backend that answered
	Requests int            `json:"requests"`
	Shares   map[string]int `json:"shares"`
}

// HeaderCheck: requests with the header reach the backend, and no others do.
type HeaderCheck struct {
	Route    string   `json:"route"`
	URL      string   `json:"url"`
	Answer   string   `json:"answer"`
	Name     string   `json:"name"`
	Value    string   `json:"value"`
	Others   []string `json:"others"` // values that must not reach it; "" is no header
	Backend  string   `json:"backend"`
	Requests int      `json:"requests"` // per value
}

// ShiftCheck: moving a service from one backend to another under load loses nothing.
type ShiftCheck struct {
	Service string  `json:"service"`
	Port    uint16  `json:"port"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	URL     string  `json:"url"`
	Answer  string  `json:"answer"`
	RPS     float64 `json:"rps"`
	Steps   []int   `json:"steps"` // percent that goes to To
}

// ApplyCheck: `weft apply --wait` is fast, and what it says is true.
type ApplyCheck struct {
	URL    string `json:"url"`
	Answer string `json:"answer"`
	Routes []struct {
		File    string `json:"file"`
		Backend string `json:"backend"`
	} `json:"routes"`
	Rounds   int `json:"rounds"`
	Requests int `json:"requests"` // after each round
}

// OutageCheck: the control plane is killed and the mesh goes on.
type OutageCheck struct {
	URL     string  `json:"url"`
	Reject  string  `json:"reject"`
	Seconds int     `json:"seconds"`
	RPS     float64 `json:"rps"`
}

// EndpointCheck: an instance of the service is killed.
type EndpointCheck struct {
	Service string  `json:"service"`
	URL     string  `json:"url"`
	RPS     float64 `json:"rps"`
}

// Load reads demo.yaml of files and reports everything that is wrong with it: unknown fields, values out of
// bounds, and references to what is not there.
func Load(files fs.FS) (*Description, error) {
	const file = "demo.yaml"
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	d := &Description{}
	if err := yaml.UnmarshalStrict(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i := range d.Services {
		if d.Services[i].Replicas == 0 {
			d.Services[i].Replicas = 1
		}
	}
	if err := d.validate(files); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, nil
}

// validate joins all that is wrong, each with its field.
func (d *Description) validate(files fs.FS) error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(d.Name != "", "name is missing")
	bad(d.Namespace != "", "namespace is missing")
	bad(len(d.Services) > 0 && len(d.Services) <= maxServices, "services: wants 1 to %d of them, has %d", maxServices, len(d.Services))
	seen := map[string]bool{}
	for i, s := range d.Services {
		at := fmt.Sprintf("services[%d]", i)
		bad(!seen[s.label()], "%s: %s is described twice", at, s.label())
		seen[s.label()] = true
		for _, err := range s.problems() {
			errs = append(errs, fmt.Errorf("%s.%w", at, err))
		}
	}
	bad(d.Load.Service != "" && d.Load.Account != "" && d.Load.URL != "", "load: wants service, account and url")
	bad(d.Load.RPS >= 0 && d.Load.RPS <= maxRPS, "load.rps: wants 0 to %d, has %v", maxRPS, d.Load.RPS)
	for i, r := range d.Routes {
		_, err := fs.Stat(files, path.Clean(r))
		bad(err == nil, "routes[%d]: %v", i, err)
	}
	for i, c := range d.Commands {
		_, err := expand(c.Run, map[string]string{"ROUTES": ""})
		bad(c.Run != "" && err == nil, "commands[%d].run: %v", i, err)
	}
	errs = append(errs, d.checkProblems()...)
	return errors.Join(errs...)
}

// label names a version of a service for people: "reviews v2".
func (s *Service) label() string { return strings.TrimSpace(s.Name + " " + s.Version) }

func (s *Service) problems() []error {
	var errs []error
	if s.Name == "" || s.Account == "" {
		errs = append(errs, errors.New("name: wants a name and an account"))
	}
	if s.Port == 0 {
		errs = append(errs, errors.New("port: wants 1 to 65535"))
	}
	if _, err := model.ParseProtocol(s.Protocol); err != nil {
		errs = append(errs, fmt.Errorf("protocol: %w", err))
	}
	if s.Replicas < 1 || s.Replicas > maxReplicas {
		errs = append(errs, fmt.Errorf("replicas: wants 1 to %d, has %d", maxReplicas, s.Replicas))
	}
	if len(s.Command) == 0 {
		errs = append(errs, errors.New("command: is missing"))
	}
	for i, word := range s.Command {
		if _, err := expand(word, map[string]string{"PORT": "", "BIN": "", "REPLICA": ""}); err != nil {
			errs = append(errs, fmt.Errorf("command[%d]: %w", i, err))
		}
	}
	return errs
}

// checkProblems looks at what a typing error would turn into a check that proves nothing.
func (d *Description) checkProblems() []error {
	var errs []error
	for i, e := range d.Check.Edges {
		if d.account(e.From) == "" || d.account(e.To) == "" {
			errs = append(errs, fmt.Errorf("check.edges[%d]: %s -> %s names a service that is not described", i, e.From, e.To))
		}
	}
	route := func(at, file string) {
		if !slices.Contains(d.Routes, file) {
			errs = append(errs, fmt.Errorf("check.%s: %q is not among routes", at, file))
		}
	}
	answer := func(at, re string) {
		if r, err := regexp.Compile(re); err != nil || r.NumSubexp() != 1 {
			errs = append(errs, fmt.Errorf("check.%s.answer: %q is not a regular expression with one group", at, re))
		}
	}
	if c := d.Check.Split; c != nil {
		route("split.route", c.Route)
		answer("split", c.Answer)
	}
	if c := d.Check.Header; c != nil {
		route("header.route", c.Route)
		answer("header", c.Answer)
	}
	if c := d.Check.Shift; c != nil {
		answer("shift", c.Answer)
	}
	if c := d.Check.Apply; c != nil {
		answer("apply", c.Answer)
		for _, r := range c.Routes {
			route("apply.routes", r.File)
		}
		if len(c.Routes) < 2 {
			errs = append(errs, errors.New("check.apply.routes: wants at least 2, or nothing would change"))
		}
	}
	if c := d.Check.Endpoint; c != nil && d.account(c.Service) == "" {
		errs = append(errs, fmt.Errorf("check.endpoint.service: %q is not described", c.Service))
	}
	return errs
}

// account returns the account a service runs as, or "" for a name that is not described.
func (d *Description) account(service string) string {
	if service == d.Load.Service {
		return d.Load.Account
	}
	for _, s := range d.Services {
		if s.Name == service {
			return s.Account
		}
	}
	return ""
}

// expand replaces ${NAME} by its value; a name without one is an error.
func expand(s string, values map[string]string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		v, known := values[name]
		if !ok || !known {
			return "", fmt.Errorf("unknown placeholder ${%s}", name)
		}
		b.WriteString(v)
		s = after
	}
}
