package agent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/proxy"
)

// Options say what a proxy serves, where it listens and who configures it. Exactly one of Control (with
// TokenFile), Snapshot and Feed must be given.
type Options struct {
	Control   string // "unix:///path" or "host:port"
	TokenFile string
	Snapshot  string             // file, as `weft proxy-config dump -o yaml` writes it
	Feed      io.ReadWriteCloser // snapshots and answers as lines of JSON: see FeedAnswer; the proxy ends when it does
	CertFile  string             // with Snapshot: SVID chain, key and bundle in PEM, for the mesh transport
	KeyFile   string
	Bundle    string

	ID      string
	Service string
	Labels  map[string]string
	Ports   []model.Inbound
	Health  string // path that must answer 2xx; "" : the port accepts

	Inbound   netip.AddrPort
	Advertise netip.Addr // address others reach Inbound at; default: Inbound's own
	Outbound  netip.AddrPort
	HTTPProxy netip.AddrPort
	DNS       netip.AddrPort
	Upstreams []Upstream
	Admin     string // "unix:///path" or "host:port"; "" : none

	// Gateway is the Gateway of the mesh whose listeners the proxy serves, with Control; zero: it is no gateway.
	Gateway      model.ServiceName
	Selected     bool               // it is a gateway, whose listeners are those of Istio's Gateways that select Labels; without Gateway
	Egress       bool               // it is a gateway for programs of the mesh, by Inbound, and an endpoint of Service
	Bind         []netip.Addr       // where the Gateway names no addresses; none is the loopback
	Managed      io.ReadWriteCloser // brings certificates by ACME, see ManagedLine; nil: there are none
	Certificates string             // directory of the files that listeners, and TLS to services outside the mesh, name; "" : there are none

	Capture io.ReadWriteCloser // takes what is to be captured, see CaptureAsk; nil: the program is not captured

	AccessLog string // file, "-" for standard output, "" : none
	Loops     int
	Alone     bool          // the process is there for this proxy: see loop.OwnProcessor
	Drain     time.Duration // how long in-flight work may take at the end; default 10 s
	Ready     io.WriteCloser
	Version   string
	Logger    *slog.Logger

	// For tests: in place of the system's resolver, and of the least time between two looks at a name.
	dialDNS dialer
	refresh time.Duration
}

// Upstream is a local listener that stands for a service; see proxy.Upstream.
type Upstream struct {
	Service model.ServiceName // the namespace may be empty: the workload's own
	Port    uint16
	Listen  netip.AddrPort
}

// Validate says what is wrong, as a user would want to know.
func (o *Options) Validate() error {
	sources := 0
	for _, given := range []bool{o.Control != "", o.Snapshot != "", o.Feed != nil} {
		if given {
			sources++
		}
	}
	switch {
	case sources == 0:
		return errors.New("nobody to configure the proxy: give --control with --token, or --snapshot")
	case sources > 1:
		return errors.New("--control, --snapshot and --feed-fd exclude each other")
	case o.Control != "" && o.TokenFile == "":
		return errors.New("--control needs --token FILE: make one with `weft token create`")
	case o.Control != "" && (o.Service == "" || o.ID == ""):
		return errors.New("--control needs --service NAME and --id ID")
	case o.Control == "" && (o.gateway() || o.Certificates != ""):
		return errors.New("--gateway, --selected, --egress and --certificates need --control")
	case o.Selected && !o.Gateway.IsZero():
		return errors.New("--gateway and --selected exclude each other")
	case o.Egress && !o.Inbound.IsValid():
		return errors.New("--egress needs --inbound IP:PORT, where programs of the mesh reach the gateway")
	case o.Inbound.IsValid() && o.Inbound.Addr().IsUnspecified() && !o.Advertise.IsValid():
		return errors.New("--inbound on every address needs --advertise IP: what others connect to")
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// gateway reports whether the proxy serves listeners of a mesh.
func (o *Options) gateway() bool { return !o.Gateway.IsZero() || o.Selected || o.Egress }

// token reads the join token.
func (o *Options) token() (string, error) {
	b, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (o *Options) upstreams(namespace string) []proxy.Upstream {
	var out []proxy.Upstream
	for _, u := range o.Upstreams {
		if u.Service.Namespace == "" {
			u.Service.Namespace = namespace
		}
		out = append(out, proxy.Upstream{Service: u.Service, Port: u.Port, Listen: u.Listen})
	}
	return out
}
