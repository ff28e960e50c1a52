package istio

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// minPing bounds how often a connection is asked whether it lives: servers take more for an attack.
const minPing = time.Second

// atLeast reads a duration that must be there.
func (c *checker) atLeast(d *duration, least time.Duration, f *document.Field) time.Duration {
	switch {
	case d == nil:
		c.add(f, "is missing", "write a duration such as 10s")
	case d.Duration < least:
		c.add(f, fmt.Sprintf("wants %s at least, has %s", least, d.Duration), "")
	}
	return of(d)
}

func (c *checker) pool(in *connectionPool, f *document.Field) (out model.Connections) {
	count := func(n int32, at *document.Field) int {
		if n < 0 {
			c.add(at, fmt.Sprintf("wants an integer from 0, has %d", n), "")
			return 0
		}
		return int(n)
	}
	if tcp := in.TCP; tcp != nil {
		at := f.Key("tcp")
		out.Max = count(tcp.MaxConnections, at.Key("maxConnections"))
		out.ConnectTimeout = of(tcp.ConnectTimeout)
		out.MaxAge = of(tcp.MaxConnectionDuration)
		out.TCPIdle = of(tcp.IdleTimeout)
		if k := tcp.TCPKeepalive; k != nil {
			if k.Probes > 127 { // TCP_KEEPCNT of Linux
				c.add(at.Key("tcpKeepalive").Key("probes"), fmt.Sprintf("wants an integer 0 to 127, has %d", k.Probes), "")
			}
			out.KeepAlive = &model.KeepAlive{Time: of(k.Time), Interval: of(k.Interval), Probes: int(min(k.Probes, 127))}
		}
	}
	if http := in.HTTP; http != nil {
		at := f.Key("http")
		out.ClientProtocol = http.UseClientProtocol
		if k := http.HTTP2KeepAlive; k != nil {
			out.Ping = &model.Ping{
				Interval: c.atLeast(k.Interval, minPing, at.Key("http2KeepAlive").Key("interval")),
				Timeout:  c.atLeast(k.Timeout, time.Millisecond, at.Key("http2KeepAlive").Key("timeout")),
			}
		}
		if policy := http.H2UpgradePolicy; c.enum(&policy, []string{"DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"}, at.Key("h2UpgradePolicy")) && policy != "DEFAULT" {
			c.idle(at.Key("h2UpgradePolicy"), "HTTPSettings.h2UpgradePolicy")
		}
		out.Pending = count(http.HTTP1MaxPendingRequests, at.Key("http1MaxPendingRequests"))
		out.Requests = count(http.HTTP2MaxRequests, at.Key("http2MaxRequests"))
		out.PerConnection = count(http.MaxRequestsPerConnection, at.Key("maxRequestsPerConnection"))
		out.Retries = count(http.MaxRetries, at.Key("maxRetries"))
		out.Streams = count(http.MaxConcurrentStreams, at.Key("maxConcurrentStreams"))
		out.Idle = of(http.IdleTimeout)
	}
	return out
}

// clientTLS reads how TLS is begun to endpoints outside the mesh.
func (c *checker) clientTLS(in *clientTLS, up *model.Upstream, t *Traffic, f *document.Field) {
	mode := in.Mode
	if !c.enum(&mode, []string{"DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"}, f.Key("mode")) {
		return
	}
	others := []string{"clientCertificate", "privateKey", "caCertificates", "credentialName", "subjectAltNames", "sni", "insecureSkipVerify", "caCrl"}
	switch mode {
	case "DISABLE", "ISTIO_MUTUAL":
		if mode == "ISTIO_MUTUAL" {
			// Istio's documentation of egress gateways has the name here; the mesh's own TLS needs none.
			others = slices.DeleteFunc(others, func(name string) bool { return name == "sni" })
		}
		for _, name := range others {
			if c.doc.Has(f.Key(name)) {
				c.add(f.Key(name), "has no meaning with mode "+mode, "remove it, or write mode SIMPLE or MUTUAL")
			}
		}
		t.Plain, t.Mutual = mode == "DISABLE", mode == "ISTIO_MUTUAL"
		return
	}
	t.Files = TLSFiles{Certificate: in.ClientCertificate, Key: in.PrivateKey, CA: in.CaCertificates, Revoked: in.CaCrl, Secret: in.CredentialName, Mutual: mode == "MUTUAL", At: c.position(f)}
	files := t.Files.Certificate != "" || t.Files.Key != ""
	switch {
	case in.CredentialName != "" && (files || in.CaCertificates != ""):
		c.add(f.Key("credentialName"), "stands beside files", "name a Secret or files")
	case in.CredentialName != "" && in.CaCrl != "":
		c.add(f.Key("caCrl"), "stands beside credentialName", "write the list under the key ca.crl of the Secret")
	case in.CredentialName == "" && mode == "MUTUAL" && (t.Files.Certificate == "" || t.Files.Key == ""):
		c.add(f, "has no client certificate, which MUTUAL needs", "write clientCertificate and privateKey, or credentialName")
	case mode == "SIMPLE" && files:
		c.add(f, "has a client certificate, which SIMPLE does not send", "write mode: MUTUAL")
	}
	if in.CredentialName != "" && document.CheckSubdomain(in.CredentialName) != "" {
		c.add(f.Key("credentialName"), fmt.Sprintf("%q is no name of a Secret", clip(in.CredentialName)), document.CheckSubdomain(in.CredentialName))
	}
	if in.SNI != "" && document.CheckSubdomain(strings.ToLower(in.SNI)) != "" {
		c.add(f.Key("sni"), fmt.Sprintf("%q is no valid host name", clip(in.SNI)), document.CheckSubdomain(strings.ToLower(in.SNI)))
	}
	c.atMost(len(in.SubjectAltNames), maxItems, "names", f.Key("subjectAltNames"))
	up.TLS = &model.UpstreamTLS{Hostname: strings.ToLower(in.SNI), Names: in.SubjectAltNames}
	up.TLS.Insecure = in.InsecureSkipVerify != nil && *in.InsecureSkipVerify
	if up.TLS.Insecure && (in.CaCertificates != "" || in.CaCrl != "" || len(in.SubjectAltNames) > 0) {
		c.add(f.Key("insecureSkipVerify"), "stands beside what is to be verified", "remove one of them")
	}
}
