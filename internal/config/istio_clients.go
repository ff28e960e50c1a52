package config

import (
	"crypto/x509"
	"fmt"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// clients says how the certificates of clients are verified, or why they cannot be.
func (e *istioEdge) clients(r *Resource, s *istio.Server, out *model.Listener) string {
	if s.ClientMode == "" {
		return ""
	}
	out.ClientMode = s.ClientMode
	if s.Checks != nil {
		checks := *s.Checks
		out.ClientChecks = &checks
	}
	switch {
	case s.ClientCA != "":
		if why := e.clientsOf(r, s, s.ClientCA, &out.ClientCA, &out.ClientCAFile); why != "" {
			return why
		}
	case s.CASecret != "":
		ca, revoked := e.secretCA(e.secretNamespace(r.Key.Namespace, s.CASecret), s.CASecret)
		if !x509.NewCertPool().AppendCertsFromPEM([]byte(ca)) {
			return "there is no CA for the certificates of clients in the Secret " + s.CASecret
		}
		if out.ClientCA = ca; revoked != "" {
			if out.ClientChecks == nil {
				out.ClientChecks = &model.ClientChecks{}
			}
			out.ClientChecks.Revoked = revoked
		}
	}
	if out.ClientChecks == nil {
		return ""
	}
	return e.revoked(r, s.TLSAt, &out.ClientChecks.Revoked, &out.ClientChecks.RevokedFile)
}

// clientsOf reads a CA from a file, or says why it cannot be; in a mesh the gateway reads it.
func (e *istioEdge) clientsOf(r *Resource, s *istio.Server, name string, ca, file *string) string {
	if e.joined {
		*file = name
		return ""
	}
	g := &gate{edge: &edge{resource: r}, spec: &gateway.Listener{FilesAt: s.TLSAt}}
	pem, ok := e.file(g, name)
	if !ok {
		return "the CA of clients cannot be read"
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return "there is no CA for the certificates of clients in " + name
	}
	*ca = string(pem)
	return ""
}

// revoked reads lists of revoked certificates from a file, if one is named, and says why they cannot be used; in a mesh
// the gateway reads it.
func (e *istioEdge) revoked(r *Resource, at istio.Position, text, file *string) string {
	if *file != "" {
		if e.joined {
			return ""
		}
		g := &gate{edge: &edge{resource: r}, spec: &gateway.Listener{FilesAt: at}}
		pem, ok := e.file(g, *file)
		if !ok {
			return "the list of revoked certificates cannot be read"
		}
		*text = string(pem)
	}
	if *text == "" {
		return ""
	}
	lists, err := model.ParseRevocations(*text)
	if err != nil {
		return fmt.Sprintf("the lists of revoked certificates cannot be used: %v", err)
	}
	*file = ""
	if message, remedy := ending(e.in.Now, lists.Expires()); message != "" {
		e.warn(r, at, "a list of revoked certificates "+message, remedy)
	}
	return ""
}

// secretCA returns the CA of a Secret, or of the one beside it that holds nothing else (Istio, credentialName), and the
// lists of certificates that it has revoked.
func (e *istioEdge) secretCA(namespace, name string) (ca, revoked string) {
	for _, n := range []string{name, name + "-cacert"} {
		if r := e.secrets[gateway.ObjectName{Namespace: namespace, Name: n}]; r != nil {
			if s := r.body.(*gateway.Secret); s.CA != "" {
				return s.CA, s.Revoked
			}
		}
	}
	return "", ""
}

// certificates finds those of a server; what is wrong with them is reported.
func (e *istioEdge) certificates(r *Resource, s *istio.Server) []model.Certificate {
	var out []model.Certificate
	for _, k := range s.Keys {
		owner := *r
		owner.Key.Namespace = e.secretNamespace(r.Key.Namespace, k.Secret)
		spec := &gateway.Listener{Name: s.Name, Port: s.Port, Kind: s.Kind, CertFile: k.Certificate, KeyFile: k.Key, FilesAt: k.At, At: s.At}
		if k.Secret != "" {
			spec.Certificates = []gateway.SecretRef{{Secret: gateway.ObjectName{Namespace: owner.Key.Namespace, Name: k.Secret}, At: k.At}}
		}
		g := &gate{edge: &edge{resource: &owner, spec: &gateway.Gateway{}}, spec: spec}
		e.certify(g)
		if k.CA != "" {
			for i := range g.certificates {
				if why := e.clientsOf(r, s, k.CA, &g.certificates[i].ClientCA, &g.certificates[i].ClientCAFile); why != "" {
					e.report(r, k.At, why, "the certificate is not used without", false)
					g.certificates = nil
					break
				}
			}
		}
		out = append(out, g.certificates...)
	}
	return out
}
