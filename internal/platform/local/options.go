package local

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

// The ways to capture a program's outgoing traffic.
const (
	CaptureAuto     = "auto" // eBPF where it is permitted, else explicit
	CaptureEBPF     = "ebpf"
	CaptureExplicit = "explicit"
)

// RunOptions is what `weft run` is told. Ports, Upstreams and Labels are as written on the command line.
type RunOptions struct {
	Service   string // required
	Version   string // the label of that name
	Namespace string // "default" if empty
	Account   string // the service's name if empty
	ID        string // of the workload, unique in the mesh; made up if empty

	Ports        []string // [SERVICE_PORT:]PORT[/PROTOCOL]; none: a client only
	Health       string   // path that answers when the program is ready; "" probes the port
	Capture      string   // CaptureAuto if empty
	Upstreams    []string // SERVICE[.NAMESPACE][:PORT][=LOCALPORT]
	Labels       []string // KEY=VALUE
	AccessLog    string   // file for the proxy's access log; "-" is standard error; "" none
	Certificates string   // directory of the files that TLS to services outside the mesh names; "" none
	Proxy        string   // path of weft-proxy; "" beside this program, else in PATH
	Command      []string // required

	Dir string   // working directory of the program; "" is ours
	Env []string // its environment, KEY=VALUE; nil is ours

	Admin  adminv1connect.AdminServiceClient // required
	Logger *slog.Logger                      // required

	// Standard streams of the program. A nil Stdin is empty; nil outputs are discarded. Files are handed on
	// as they are, anything else is copied.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// ProxyOutput takes what the proxy logs, and the run's own line about capture; Stderr if nil.
	ProxyOutput io.Writer

	// Signals to act on: see Notify. Without them only the context ends the run, as SIGTERM would.
	Signals <-chan os.Signal
	// Started is called when the program has started, if set. It must not block.
	Started func(Status)

	ProgramGrace time.Duration // between the signal and SIGKILL; 30 s if 0
	ProxyGrace   time.Duration // 10 s if 0
}

// Status is a run in progress.
type Status struct {
	ID         string
	Capture    string // CaptureEBPF or CaptureExplicit
	ProgramPID int
	ProxyPID   int
	Proxy      Ready
}

// Defaults of the options.
const (
	defaultProgramGrace = 30 * time.Second
	defaultProxyGrace   = 10 * time.Second
	readyTimeout        = 30 * time.Second // for an identity and a first configuration
	leaveTimeout        = 10 * time.Second
)

// plan is the options, read and checked.
type plan struct {
	RunOptions
	ports     []Port
	upstreams []Upstream
	labels    map[string]string
}

// name is a DNS label (RFC 1123), which services, namespaces and accounts are; ids may have dots.
var (
	validLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	validID    = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,98}[A-Za-z0-9])?$`)
)

func (o RunOptions) plan() (*plan, error) {
	p := &plan{RunOptions: o, labels: map[string]string{}}
	p.setDefaults()
	if err := p.checkNames(); err != nil {
		return nil, usage(err)
	}
	switch p.Capture {
	case CaptureAuto, CaptureEBPF, CaptureExplicit:
	default:
		return nil, usage(fmt.Errorf("--capture %q: want auto, ebpf or explicit", p.Capture))
	}
	if p.Health != "" && (p.Health[0] != '/' || strings.ContainsAny(p.Health, " \r\n\t")) {
		return nil, usage(fmt.Errorf("--health %q: want a path that begins with /", p.Health))
	}
	if p.Health != "" && len(p.Ports) == 0 {
		return nil, usage(errors.New("--health needs a --port to ask on"))
	}
	if err := p.parse(); err != nil {
		return nil, usage(err)
	}
	return p, nil
}

func (p *plan) setDefaults() {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&p.Namespace, "default")
	set(&p.Account, p.Service)
	set(&p.Capture, CaptureAuto)
	if p.ID == "" && p.Service != "" {
		p.ID = p.Service + "-" + randomSuffix()
	}
	if p.ProgramGrace == 0 {
		p.ProgramGrace = defaultProgramGrace
	}
	if p.ProxyGrace == 0 {
		p.ProxyGrace = defaultProxyGrace
	}
	if p.ProxyOutput == nil {
		p.ProxyOutput = p.Stderr
	}
	if p.ProxyOutput == nil {
		p.ProxyOutput = io.Discard
	}
	if p.Env == nil {
		p.Env = os.Environ()
	}
}

func (p *plan) checkNames() error {
	if p.Admin == nil || p.Logger == nil {
		return errors.New("a run needs Admin and Logger")
	}
	if len(p.Command) == 0 || p.Command[0] == "" {
		return errors.New("no command: write it after --")
	}
	for _, f := range []struct{ flag, value string }{
		{"--service", p.Service}, {"--namespace", p.Namespace}, {"--account", p.Account},
	} {
		if !validLabel.MatchString(f.value) {
			return fmt.Errorf("%s %q: want 1 to 63 of a-z 0-9 and -, not at its ends", f.flag, clip(f.value))
		}
	}
	if !validID.MatchString(p.ID) {
		return fmt.Errorf("workload id %q: want 1 to 100 of letters, digits and - _ . inside", clip(p.ID))
	}
	return nil
}

// parse reads what may be given several times.
func (p *plan) parse() error {
	for _, s := range p.Ports {
		port, err := ParsePort(s)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.ports, func(q Port) bool { return q.Service == port.Service }) {
			return fmt.Errorf("--port %s: service port %d is given twice", s, port.Service)
		}
		p.ports = append(p.ports, port)
	}
	for _, s := range p.Upstreams {
		u, err := ParseUpstream(s, p.Namespace)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.upstreams, func(v Upstream) bool { return v.Key() == u.Key() }) {
			return fmt.Errorf("--upstream %s: %s is given twice", s, u.Key())
		}
		p.upstreams = append(p.upstreams, u)
	}
	for _, s := range p.Labels {
		k, v, err := ParseLabel(s)
		if err != nil {
			return err
		}
		p.labels[k] = v
	}
	if p.Version != "" {
		k, v, err := ParseLabel(model.LabelVersion + "=" + p.Version)
		if err != nil {
			return err
		}
		if was, ok := p.labels[k]; ok && was != v {
			return fmt.Errorf("--version %s and --label %s=%s differ", v, k, was)
		}
		p.labels[k] = v
	}
	return nil
}

// labelArgs returns the labels as flags of the proxy, in a fixed order.
func (p *plan) labelArgs() []string {
	var args []string
	for _, k := range slices.Sorted(maps.Keys(p.labels)) {
		args = append(args, "--label", k+"="+p.labels[k])
	}
	return args
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
