package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/weft-mesh/weft/internal/agent"
	"github.com/weft-mesh/weft/internal/model"
)

const usage = `weft-proxy is the data plane of Weft: the sidecar of one workload.

It is configured by a control plane (--control, --token), by a fixed snapshot (--snapshot), or by whoever
started it (--feed-fd), and normally started by "weft run" or "weft gateway". Addresses are IP:PORT; port 0 takes a free one, told by --ready-fd and GET /addresses
of the admin endpoint. On SIGTERM it leaves the mesh, drains and ends; a second SIGTERM ends it at once.

Flags:
`

// parse reads the command line.
func parse(args []string) (agent.Options, *slog.Logger, error) {
	o := agent.Options{Labels: map[string]string{}, Version: version, Alone: true}
	fs := flag.NewFlagSet("weft-proxy", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.Control, "control", "", "control plane: unix:///PATH or HOST:PORT")
	fs.StringVar(&o.TokenFile, "token", "", "`FILE` that holds a join token")
	fs.StringVar(&o.Snapshot, "snapshot", "", "`FILE` as \"weft proxy-config dump -o yaml\" writes it, instead of a control plane")
	fs.StringVar(&o.CertFile, "svid-cert", "", "with --snapshot: `FILE` of the SVID's chain, PEM")
	fs.StringVar(&o.KeyFile, "svid-key", "", "with --snapshot: `FILE` of the SVID's key, PEM")
	fs.StringVar(&o.Bundle, "bundle", "", "with --snapshot: `FILE` of the trust domain's roots, PEM")
	fs.StringVar(&o.ID, "id", "", "workload `ID`, unique in the mesh")
	fs.StringVar(&o.Service, "service", "", "`NAME` of the workload's service")
	fs.Func("label", "`KEY=VALUE` on the endpoint; repeatable", labelInto(o.Labels))
	fs.Func("port", "`[SERVICE_PORT:]PORT[/PROTOCOL]` the program serves; repeatable", portInto(&o.Ports))
	fs.StringVar(&o.Health, "health", "", "`PATH` that answers 2xx when the program is fit to serve; default: its port accepts")
	fs.Func("inbound", "`IP:PORT` of the mesh listener", addrInto(&o.Inbound))
	fs.Func("advertise", "`IP` at which others reach the mesh listener", ipInto(&o.Advertise))
	fs.Func("outbound", "`IP:PORT` for redirected connections", addrInto(&o.Outbound))
	fs.Func("http-proxy", "`IP:PORT` for programs that use HTTP_PROXY", addrInto(&o.HTTPProxy))
	fs.Func("dns", "`IP:PORT` of the name service", addrInto(&o.DNS))
	fs.Func("upstream", "`SERVICE[.NAMESPACE]:PORT=IP:PORT`: a local listener for a service; repeatable", upstreamInto(&o.Upstreams))
	fs.Func("gateway", "`NAMESPACE/NAME` of the Gateway of the mesh whose listeners are served; the join token has to be for an account of that name", func(s string) error {
		return o.Gateway.UnmarshalText([]byte(s))
	})
	fs.BoolVar(&o.Selected, "selected", false, "serve the listeners of Istio's Gateways that select the labels")
	fs.BoolVar(&o.Egress, "egress", false, "serve programs of the mesh, by --inbound, which leave the mesh here; they find the proxy as an endpoint of --service")
	fs.Func("bind", "`IP` of the listeners of a Gateway that names no addresses; repeatable; default: the loopback", func(s string) error {
		ip, err := netip.ParseAddr(s)
		o.Bind = append(o.Bind, ip)
		return err
	})
	fs.StringVar(&o.Certificates, "certificates", "", "`DIRECTORY` of the files that listeners, and TLS to services outside the mesh, name")
	fs.StringVar(&o.Admin, "admin", "", "admin endpoint: unix:///PATH or IP:PORT")
	fs.StringVar(&o.AccessLog, "access-log", "", "`FILE` for one JSON line a request; - is standard output")
	fs.IntVar(&o.Loops, "loops", 1, "event loops: one uses one core")
	fs.DurationVar(&o.Drain, "drain", 0, "how long work in flight may take at the end (default 10s)")
	managed := fs.Int("managed-fd", 0, "with --gateway: `DESCRIPTOR` of a stream socket that brings certificates by ACME as lines of JSON")
	capture := fs.Int("capture-fd", 0, "`DESCRIPTOR` of a stream socket that is told which connections to capture, as lines of JSON, and answers each")
	feed := fs.Int("feed-fd", 0, "`DESCRIPTOR` of a stream socket that brings snapshots as lines of JSON and takes an answer to each")
	ready := fs.Int("ready-fd", 0, "descriptor that gets one line of JSON when the proxy is ready")
	format := fs.String("log-format", "text", "text or json")
	level := fs.String("log-level", "info", "debug, info, warn or error")
	printVersion := fs.Bool("version", false, "print the version")
	if err := fs.Parse(args); err != nil {
		return o, nil, err
	}
	if *printVersion {
		fmt.Println(version)
		return o, nil, flag.ErrHelp
	}
	if fs.NArg() > 0 {
		return o, nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *ready > 0 {
		o.Ready = os.NewFile(uintptr(*ready), "ready")
	}
	if err := errors.Join(inherit(*managed, "managed", &o.Managed), inherit(*feed, "feed", &o.Feed), inherit(*capture, "capture", &o.Capture)); err != nil {
		return o, nil, err
	}
	log, err := newLogger(*format, *level)
	o.Logger = log
	return o, log, errors.Join(err, o.Validate())
}

// inherit opens a stream socket that whoever started us left, if there is one.
func inherit(fd int, name string, into *io.ReadWriteCloser) error {
	if fd <= 0 {
		return nil
	}
	// Non-blocking, so that closing it ends a read.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("--%s-fd %d: %w", name, fd, err)
	}
	*into = os.NewFile(uintptr(fd), name)
	return nil
}

func labelInto(labels map[string]string) func(string) error {
	return func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return errors.New("want KEY=VALUE")
		}
		labels[k] = v
		return nil
	}
}

func portInto(ports *[]model.Inbound) func(string) error {
	return func(s string) error {
		text, protocol, _ := strings.Cut(s, "/")
		p, err := model.ParseProtocol(protocol)
		if err != nil {
			return err
		}
		in := model.Inbound{Protocol: p}
		service, own, both := strings.Cut(text, ":")
		if !both {
			own = service
		}
		if in.ServicePort, err = port(service); err != nil {
			return err
		}
		if in.Port, err = port(own); err != nil {
			return err
		}
		*ports = append(*ports, in)
		return nil
	}
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

func addrInto(at *netip.AddrPort) func(string) error {
	return func(s string) (err error) {
		*at, err = netip.ParseAddrPort(s)
		return err
	}
}

func ipInto(at *netip.Addr) func(string) error {
	return func(s string) (err error) {
		*at, err = netip.ParseAddr(s)
		return err
	}
}

func upstreamInto(list *[]agent.Upstream) func(string) error {
	return func(s string) error {
		name, listen, ok := strings.Cut(s, "=")
		host, portText, hasPort := strings.Cut(name, ":")
		if !ok || !hasPort {
			return errors.New("want SERVICE[.NAMESPACE]:PORT=IP:PORT")
		}
		n, err := port(portText)
		if err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(listen)
		if err != nil {
			return err
		}
		svc, ns, _ := strings.Cut(host, ".")
		*list = append(*list, agent.Upstream{Service: model.ServiceName{Namespace: ns, Name: svc}, Port: n, Listen: at})
		return nil
	}
}
