package istio

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ParseGateway checks a Gateway. When the problems Failed it must not be used.
func ParseGateway(d *document.Document) (*Gateway, document.Problems) {
	c, in, ok := parse[istioGateway](d)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &Gateway{Selector: in.Selector}
	c.labels(in.Selector, spec.Key("selector"))
	if len(in.Servers) == 0 {
		c.add(spec.Key("servers"), "is missing or empty", "write at least one server")
	}
	c.atMost(len(in.Servers), maxServers, "servers", spec.Key("servers"))
	for i := range in.Servers {
		out.Servers = append(out.Servers, c.server(&in.Servers[i], spec.Key("servers").Index(i), i))
	}
	return out, c.problems
}

func (c *checker) server(in *server, f *document.Field, index int) Server {
	out := Server{Name: in.Name, At: c.position(f), TLSAt: c.position(f.Key("tls"))}
	if out.Name == "" {
		out.Name = fmt.Sprintf("server-%d", index)
	}
	if in.Port == nil {
		c.add(f.Key("port"), "is missing", "write port: {number: 80, protocol: HTTP, name: http}")
		return out
	}
	at := f.Key("port")
	out.Port = c.wantedPort(in.Port.Number, at.Key("number"))
	if in.Port.Name == "" {
		c.add(at.Key("name"), "is missing or empty", "name the port")
	}
	c.idleAny(at, "Port", "targetPort")
	if in.Bind != "" {
		ip, err := netip.ParseAddr(in.Bind)
		if err != nil {
			c.add(f.Key("bind"), fmt.Sprintf("%q is no address", clip(in.Bind)), "write an IP address; Unix sockets are not supported in this version of Weft")
		}
		out.Bind = ip.Unmap()
	}
	c.serverHosts(in.Hosts, &out, f.Key("hosts"))
	c.serverKind(in, &out, f)
	if c.defaultEndpoint(in.DefaultEndpoint, &out, f.Key("defaultEndpoint")); out.Redirect && in.DefaultEndpoint != "" {
		c.add(f.Key("defaultEndpoint"), "is never asked: tls.httpsRedirect answers all requests", "remove one of them")
	}
	return out
}

// defaultEndpoint reads where what no VirtualService takes goes to: a program on the gateway's own machine.
func (c *checker) defaultEndpoint(s string, out *Server, f *document.Field) {
	if s == "" {
		return
	}
	if strings.HasPrefix(s, "unix:") {
		c.add(f, "Unix sockets are not supported in this version of Weft", "write 127.0.0.1:PORT")
		return
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil || at.Port() == 0 || !at.Addr().IsLoopback() {
		c.add(f, fmt.Sprintf("%q is no address of the loopback with a port", clip(s)), "write 127.0.0.1:PORT, or a VirtualService with a route to elsewhere")
		return
	}
	out.Default = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// serverHosts reads "host" and "namespace/host".
func (c *checker) serverHosts(in []string, out *Server, f *document.Field) {
	if len(in) == 0 {
		c.add(f, "names no host", `write "*" for all`)
	}
	c.atMost(len(in), maxHosts, "hosts", f)
	seen := map[string]bool{}
	for i, s := range in {
		at := f.Index(i)
		ns, name, ok := strings.Cut(s, "/")
		if !ok {
			ns, name = "*", s
		}
		switch ns {
		case "*":
			ns = ""
		case ".":
			ns = c.doc.Namespace
		default:
			if document.CheckLabel(ns) != "" {
				c.add(at, fmt.Sprintf("%q is no namespace", clip(ns)), `write ".", "*" or a namespace before the slash`)
				continue
			}
		}
		if !c.host(name, at) {
			continue
		}
		if name = strings.ToLower(name); seen[name] {
			c.add(at, fmt.Sprintf("the host %q is here twice", name), "name it once")
			continue
		}
		seen[name] = true
		out.Hosts = append(out.Hosts, ServerHost{Namespace: ns, Name: name})
	}
}

// serverKind reads what the server speaks.
func (c *checker) serverKind(in *server, out *Server, f *document.Field) {
	protocol := strings.ToUpper(in.Port.Protocol)
	if protocol == "" {
		c.add(f.Key("port").Key("protocol"), "is missing", "write HTTP, HTTPS, GRPC, HTTP2, TCP or TLS")
		return
	}
	if !c.enum(&protocol, []string{"HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"}, f.Key("port").Key("protocol")) {
		return
	}
	tls := f.Key("tls")
	out.HTTP2 = protocol == "HTTP2" || protocol == "GRPC"
	switch protocol {
	case "HTTPS", "TLS":
		if out.Kind = model.SocketHTTPS; protocol == "TLS" {
			out.Kind = model.SocketTLS
		}
		if in.TLS == nil {
			c.add(tls, "is missing", "write tls with mode and a certificate")
			return
		}
		c.serverTLS(in.TLS, out, tls)
		return
	case "TCP", "MONGO":
		out.Kind = model.SocketTCP
	default:
		out.Kind = model.SocketHTTP
	}
	if in.TLS == nil {
		return
	}
	out.Redirect = in.TLS.HTTPSRedirect
	if out.Redirect && out.Kind != model.SocketHTTP {
		c.add(tls.Key("httpsRedirect"), "is for HTTP", "remove it")
	}
	rest := *in.TLS
	rest.HTTPSRedirect = false
	if rest.Mode != "" || rest.CredentialName != "" || rest.ServerCertificate != "" {
		c.add(tls, "a server of protocol "+protocol+" has no TLS", "write protocol: HTTPS or TLS, or httpsRedirect alone here")
	}
}

func (c *checker) serverTLS(in *serverTLS, out *Server, f *document.Field) {
	if in.HTTPSRedirect {
		c.add(f.Key("httpsRedirect"), "is for a server of protocol HTTP", "remove it")
	}
	mode := in.Mode
	known := []string{"PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"}
	if !c.enum(&mode, known, f.Key("mode")) {
		return
	}
	c.terms(in, out, f)
	notOurs := append(clientFields(), "insecureSkipVerify", "cipherSuites")
	switch mode {
	case "PASSTHROUGH":
		out.Kind = model.SocketPassthrough
		c.meaningless(f, mode, notOurs...)
		return
	case "AUTO_PASSTHROUGH":
		c.add(f.Key("mode"), mode+" is not supported in this version of Weft", "write SIMPLE, MUTUAL, OPTIONAL_MUTUAL, ISTIO_MUTUAL or PASSTHROUGH")
		return
	case "ISTIO_MUTUAL":
		c.meaningless(f, mode, notOurs...)
		c.meshServer(in, out, f)
		return
	}
	c.keys(in, out, f)
	c.clients(in, mode, out, f)
}

// meshServer makes a server one of clients of the mesh: TLS is the mesh's, so that what comes in is HTTP, or bytes.
func (c *checker) meshServer(in *serverTLS, out *Server, f *document.Field) {
	kind := out.Kind
	out.Mesh = true
	if out.Kind = model.SocketHTTP; kind == model.SocketTLS {
		out.Kind = model.SocketTCP
	}
	if in.CredentialName != "" || len(in.CredentialNames) > 0 || in.ServerCertificate != "" || len(in.TLSCertificates) > 0 {
		c.add(f, "ISTIO_MUTUAL takes no certificate: it is the mesh's own TLS", "leave mode alone here, or write SIMPLE or MUTUAL")
	}
}

// keys reads where certificates and keys are.
func (c *checker) keys(in *serverTLS, out *Server, f *document.Field) {
	c.oneOf(f, "credentialName", "credentialNames", "serverCertificate", "tlsCertificates")
	pair := func(cert, key string, at *document.Field) {
		if cert == "" || key == "" {
			c.add(at, "names only one of serverCertificate and privateKey", "write both")
		}
		out.Keys = append(out.Keys, TLSFiles{Certificate: cert, Key: key, At: c.position(at)})
	}
	secret := func(name string, at *document.Field) {
		if document.CheckSubdomain(name) != "" {
			c.add(at, fmt.Sprintf("%q is no name of a Secret", clip(name)), document.CheckSubdomain(name))
		}
		out.Keys = append(out.Keys, TLSFiles{Secret: name, At: c.position(at)})
	}
	c.atMost(len(in.CredentialNames)+len(in.TLSCertificates), maxMirrors, "certificates", f)
	switch {
	case in.CredentialName != "":
		secret(in.CredentialName, f.Key("credentialName"))
	case len(in.CredentialNames) > 0:
		for i, name := range in.CredentialNames {
			secret(name, f.Key("credentialNames").Index(i))
		}
	case len(in.TLSCertificates) > 0:
		for i, t := range in.TLSCertificates {
			at := f.Key("tlsCertificates").Index(i)
			pair(t.ServerCertificate, t.PrivateKey, at)
			if out.Keys[i].CA = t.CaCertificates; t.CaCertificates != "" && in.Mode == "SIMPLE" {
				c.add(at.Key("caCertificates"), "has no meaning with mode SIMPLE", "remove it, or write mode: MUTUAL or OPTIONAL_MUTUAL")
			}
		}
	case in.ServerCertificate != "" || in.PrivateKey != "":
		pair(in.ServerCertificate, in.PrivateKey, f)
	default:
		c.add(f, "has no certificate", "name a Secret in credentialName, or files in serverCertificate and privateKey")
	}
}
