package cli

import (
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
)

// joinFlags are those of a gateway that joins a mesh.
type joinFlags struct {
	GatewayJoin
	egress             bool
	inbound, advertise string
}

func (j *joinFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&j.Gateway, "gateway", "", "join a mesh and serve the Gateway `NAMESPACE/NAME` of its control plane")
	fl.StringVar(&j.As, "as", "", "`NAMESPACE/NAME` of the identity and service of a gateway that joins a mesh without --gateway (default istio-system/istio- and the label istio)")
	fl.BoolVar(&j.egress, "egress", false, "join a mesh as the way out for its programs, which reach it by mTLS")
	fl.StringVar(&j.inbound, "inbound", "", "with --egress: where the mesh reaches it, `IP:PORT` (default the first --bind, or 127.0.0.1, and a free port)")
	fl.StringVar(&j.advertise, "advertise", "", "with --egress: the `IP` at which others reach --inbound (default its own)")
	fl.StringVar(&j.Control, "control", "", "where proxies reach the control plane, `unix:///PATH|HOST:PORT`, with --token (default: asked from the API)")
	fl.StringVar(&j.TokenFile, "token", "", "`FILE` with a join token for the account NAME in NAMESPACE ('weft token create')")
	fl.StringVar(&j.Certificates, "certificates", "", "`DIR` of the certificate and key files that a mesh's listeners name")
}

// joins reports whether the flags ask for a gateway of a mesh.
func (j *joinFlags) joins(o *GatewayOptions, in *input) bool {
	return j.Gateway != "" || j.As != "" || j.egress || o.Labels != nil && len(in.files) == 0
}

// joinGateway checks the flags of a gateway that joins a mesh.
func (a *App) joinGateway(o *GatewayOptions, in *input, j *joinFlags) error {
	if !j.joins(o, in) {
		if j.Control+j.TokenFile+j.Certificates+j.inbound+j.advertise != "" {
			return fail(ExitUsage, "--control, --token, --certificates, --inbound and --advertise are for a gateway that joins a mesh: say which by --gateway NAMESPACE/NAME, --labels or --egress --as NAMESPACE/NAME")
		}
		return nil
	}
	switch {
	case len(in.files) > 0:
		return fail(ExitUsage, "-f excludes --gateway, --as and --egress: the documents of a mesh's gateway are given to 'weft apply'")
	case o.Check:
		return fail(ExitUsage, "--check is for -f; 'weft apply --dry-run' checks documents of a mesh")
	case j.Gateway != "" && j.As != "":
		return fail(ExitUsage, "--gateway and --as exclude each other: a Gateway is served by proxies of its own name")
	case j.Gateway != "" && o.Labels != nil && !j.egress:
		return fail(ExitUsage, "--gateway and --labels exclude each other: labels are what Istio's Gateways select")
	}
	if err := j.name(o); err != nil {
		return err
	}
	if err := j.listen(o); err != nil {
		return err
	}
	if j.Control == "" {
		client, err := a.client()
		if err != nil {
			return err
		}
		j.Client = client
	}
	j.Labels, o.Join = o.Labels, &j.GatewayJoin
	j.Listening = func(addresses []string) { a.tellListening(j, addresses) }
	return nil
}

// name completes which identity the gateway has.
func (j *joinFlags) name(o *GatewayOptions) error {
	if j.Gateway != "" {
		if !strings.Contains(j.Gateway, "/") {
			j.Gateway = "default/" + j.Gateway
		}
		j.As = j.Gateway
		return nil
	}
	if j.As == "" {
		if o.Labels["istio"] == "" {
			return fail(ExitUsage, "--as NAMESPACE/NAME is missing: the identity that the gateway has")
		}
		j.As = "istio-system/istio-" + o.Labels["istio"]
	}
	if !strings.Contains(j.As, "/") {
		j.As = "default/" + j.As
	}
	return nil
}

// listen reads where the mesh reaches an egress gateway.
func (j *joinFlags) listen(o *GatewayOptions) error {
	if !j.egress {
		if j.inbound+j.advertise != "" {
			return fail(ExitUsage, "--inbound and --advertise are for --egress")
		}
		return nil
	}
	ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if len(o.Bind) > 0 {
		ip = o.Bind[0]
	}
	e := &GatewayEgress{Inbound: netip.AddrPortFrom(ip, 0)}
	var err error
	if j.inbound != "" {
		if e.Inbound, err = netip.ParseAddrPort(j.inbound); err != nil {
			return fail(ExitUsage, "--inbound %q is not IP:PORT", clean(j.inbound))
		}
	}
	if j.advertise != "" {
		if e.Advertise, err = netip.ParseAddr(j.advertise); err != nil {
			return fail(ExitUsage, "--advertise %q is no IP address", clean(j.advertise))
		}
	}
	if e.Inbound.Addr().IsUnspecified() && !e.Advertise.IsValid() {
		return fail(ExitUsage, "--inbound on every address needs --advertise IP: what others connect to")
	}
	j.Egress = e
	return nil
}

// tellListening says what the gateway serves at the start.
func (a *App) tellListening(j *joinFlags, addresses []string) {
	switch {
	case len(addresses) > 0:
	case j.Gateway != "":
		a.note("warning: nothing to listen on yet: give 'weft apply' a Gateway %s with gatewayClassName: weft", j.Gateway)
	default:
		a.note("warning: nothing to listen on yet: give 'weft apply' a Gateway of networking.istio.io whose selector the gateway's labels have")
	}
	for _, at := range addresses {
		a.printf("listening on %s\n", at)
	}
}
