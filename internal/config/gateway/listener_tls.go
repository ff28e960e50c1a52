package gateway

import (
	"fmt"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// passthrough makes a listener one that does not end TLS.
func (c *checker) passthrough(in *v1.ListenerTLSConfig, out *Listener, f *document.Field) {
	if out.Kind == model.SocketHTTPS {
		c.add(f.Key("mode"), "is Passthrough, but protocol is HTTPS", "write protocol: TLS, or mode: Terminate")
		return
	}
	out.Kind = model.SocketPassthrough
	for _, x := range []struct {
		name string
		set  bool
	}{{"certificateRefs", len(in.CertificateRefs) > 0}, {"options", len(in.Options) > 0}} {
		if x.set {
			p := c.doc.KeyProblem(f.Key(x.name), "has no effect: mode is Passthrough").With("remove it; the backend has the certificate")
			c.problems = append(c.problems, p.AsWarning())
		}
	}
}

// listenerTLS reads where the certificates are.
func (c *checker) listenerTLS(in *v1.ListenerTLSConfig, out *Listener, f *document.Field) {
	const remedy = "name a Secret in certificateRefs, or files by the options " + OptionCertificateFile + " and " + OptionKeyFile + ", or write " + OptionACME + `: "true"`
	if in == nil {
		c.add(f, "is missing: TLS needs a certificate", remedy)
		return
	}
	switch mode := deref(in.Mode, v1.TLSModeTerminate); mode {
	case v1.TLSModeTerminate:
	case v1.TLSModePassthrough:
		c.passthrough(in, out, f)
		return
	default:
		c.oneOf(string(mode), []string{"Terminate", "Passthrough"}, f.Key("mode"))
		return
	}
	if len(in.CertificateRefs)+len(in.Options) == 0 {
		c.add(f, "has no certificate", remedy)
	}
	refs := f.Key("certificateRefs")
	c.atMost(len(in.CertificateRefs), maxCertificates, "certificates", refs)
	for i, ref := range in.CertificateRefs {
		at := refs.Index(i)
		if r := c.secretRef(&ref, at); r != nil {
			out.Certificates = append(out.Certificates, *r)
		}
	}
	c.tlsOptions(in.Options, out, f.Key("options"))
}

func (c *checker) tlsOptions(in map[v1.AnnotationKey]v1.AnnotationValue, out *Listener, f *document.Field) {
	for _, name := range sortedKeys(in) {
		value, at := string(in[v1.AnnotationKey(name)]), f.Key(name)
		switch name {
		case OptionCertificateFile:
			out.CertFile, out.FilesAt = value, c.position(at)
		case OptionKeyFile:
			out.KeyFile = value
		case OptionACME:
			c.acme(value, out, at)
			continue
		default:
			c.add(at, "unknown option", document.DidYouMean(name, []string{OptionCertificateFile, OptionKeyFile, OptionACME}))
			continue
		}
		if value == "" {
			c.add(at, "is empty", "write the path of a PEM file")
		}
	}
	if (out.CertFile == "") != (out.KeyFile == "") {
		c.add(f, "names only one of certificate and key", "write both "+OptionCertificateFile+" and "+OptionKeyFile)
	}
	if out.ACME && (out.CertFile != "" || len(out.Certificates) > 0) {
		c.add(f.Key(OptionACME), "stands beside another certificate", "keep one of them")
	}
}

// acme reads whether the certificate is asked for by ACME. A CA can be shown by HTTP-01 and TLS-ALPN-01 that one host is
// ours, never all below a name (RFC 8555, section 8.3; RFC 8737, section 3).
func (c *checker) acme(value string, out *Listener, f *document.Field) {
	switch {
	case value == "false":
		return
	case value != "true":
		c.add(f, fmt.Sprintf("unknown value %q", clip(value)), `write "true", or remove it`)
	case out.Hostname == "" || strings.HasPrefix(out.Hostname, "*"):
		c.add(f, "wants a listener with one host name, for which a certificate is asked", "write hostname: with a name without wildcard")
	}
	out.ACME = true
}
