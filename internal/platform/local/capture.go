package local

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/redirect"
)

// capture is how the program's traffic gets to the proxy: by eBPF, or explicitly where ebpf is nil.
type capture struct {
	ebpf *redirect.Capture
	why  string // for the user
}

// chooseCapture prepares what was asked for or, with auto, the best that is possible.
func chooseCapture(p *plan) (*capture, error) {
	if p.Capture == CaptureExplicit {
		return &capture{why: "as asked"}, nil
	}
	reason, ok := redirect.Supported()
	if ok {
		c, err := redirect.Prepare(redirect.Options{Name: p.ID, Logger: p.Logger})
		if err == nil {
			return &capture{ebpf: c, why: "cgroup " + strings.TrimSuffix(c.App().Name(), "/app")}, nil
		}
		reason = err.Error()
	}
	if p.Capture == CaptureEBPF {
		return nil, unavailable(fmt.Errorf("capture by eBPF is not possible here: %s; --capture explicit does without", reason))
	}
	return &capture{why: "eBPF is not possible: " + reason}, nil
}

func (c *capture) mode() string {
	if c.ebpf != nil {
		return CaptureEBPF
	}
	return CaptureExplicit
}

// describe is the line for the user.
func (c *capture) describe(r Ready) string {
	if c.ebpf != nil {
		return fmt.Sprintf("weft: capture: ebpf (%s); calls to services go to the proxy, the program needs no setting", c.why)
	}
	return fmt.Sprintf("weft: capture: explicit (%s); HTTP_PROXY=http://%s and a local port for each --upstream", c.why, r.HTTPProxy)
}

// redirect points the capture at the proxy's ports.
func (c *capture) redirect(r Ready) error {
	if c.ebpf == nil {
		return nil
	}
	outbound, err := netip.ParseAddrPort(r.Outbound)
	if err != nil {
		return fmt.Errorf("the proxy's capture listener: %w", err)
	}
	var dns netip.AddrPort
	if r.DNS != "" {
		if dns, err = netip.ParseAddrPort(r.DNS); err != nil {
			return fmt.Errorf("the proxy's DNS responder: %w", err)
		}
	}
	return c.ebpf.Redirect(outbound, dns)
}

// everything is how connections to every address are captured, nil where none are.
func (c *capture) everything() func(bool) error {
	if c.ebpf == nil {
		return nil
	}
	return c.ebpf.Everything
}

// programGroup and proxyGroup are the control groups to start in, nil for none.
func (c *capture) programGroup() *os.File {
	if c.ebpf == nil {
		return nil
	}
	return c.ebpf.App()
}

func (c *capture) proxyGroup() *os.File {
	if c.ebpf == nil {
		return nil
	}
	return c.ebpf.Proxy()
}

// endRest ends what the program left running in its group: without the capture it would talk past the mesh,
// and its group could not be removed.
func (c *capture) endRest(p *plan) {
	if c.ebpf == nil {
		return
	}
	rest := c.ebpf.Remaining()
	if len(rest) == 0 {
		return
	}
	p.Logger.Warn("the program left processes behind; they are ended", "pids", strings.Join(rest, " "))
	for _, s := range rest {
		if pid, err := strconv.Atoi(s); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	const grace = 2 * time.Second
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if len(c.ebpf.Remaining()) == 0 {
			return
		}
	}
	if err := c.ebpf.Kill(); err != nil {
		p.Logger.Warn("processes remain", "error", err)
	}
}

func (c *capture) close() error {
	if c.ebpf == nil {
		return nil
	}
	return c.ebpf.Close()
}

// programEnv is the program's environment: in explicit mode the proxy's address, and for every upstream
// where it is, as Kubernetes tells of services.
func programEnv(p *plan, mode string, r Ready) []string {
	env := newEnviron(p.Env)
	if mode == CaptureExplicit && r.HTTPProxy != "" {
		for _, k := range []string{"HTTP_PROXY", "http_proxy"} {
			env.set(k, "http://"+r.HTTPProxy)
		}
		for _, k := range []string{"NO_PROXY", "no_proxy"} {
			env.set(k, "localhost,127.0.0.1,::1")
		}
	}
	seen := map[string]bool{}
	for _, u := range p.upstreams {
		host, port, err := net.SplitHostPort(r.Upstreams[u.Key()])
		name := strings.ToUpper(strings.ReplaceAll(u.Service.Name, "-", "_"))
		if err != nil || seen[name] {
			continue // of several ports the first has the name, as in Kubernetes
		}
		seen[name] = true
		env.set(name+"_SERVICE_HOST", host)
		env.set(name+"_SERVICE_PORT", port)
	}
	return env.list
}

// environ is a list of KEY=VALUE in which a key stands once.
type environ struct{ list []string }

func newEnviron(list []string) *environ { return &environ{append([]string(nil), list...)} }

func (e *environ) set(key, value string) {
	kv := key + "=" + value
	for i, s := range e.list {
		if strings.HasPrefix(s, key+"=") {
			e.list[i] = kv
			return
		}
	}
	e.list = append(e.list, kv)
}

// checkPortsFree refuses to start a program whose port another one has: the mesh would send the other
// program its traffic.
func checkPortsFree(ports []Port) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(int(p.Program)))
		if err == nil {
			l.Close()
			continue
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return unavailable(fmt.Errorf("port %d is in use by another program: end it, or give this one another port (--port %d:PORT)", p.Program, p.Service))
		}
	}
	return nil
}

// accepts reports whether something listens on one of the ports.
func accepts(ports []Port) (uint16, bool) {
	for _, p := range ports {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p.Program))), time.Second)
		if err == nil {
			c.Close()
			return p.Program, true
		}
	}
	return 0, false
}
