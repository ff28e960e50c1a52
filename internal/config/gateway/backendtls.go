package gateway

import (
	"fmt"
	"net/url"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

const maxSubjectAltNames = 5

// BackendTLS is a checked BackendTLSPolicy.
type BackendTLS struct {
	Targets  []TLSTarget
	Hostname string
	Names    []string    // subject alternative names: DNS names and URIs
	CAs      []ObjectRef // none: those of the system
}

// TLSTarget is a Service, of the policy's namespace, that is reached over TLS.
type TLSTarget struct {
	Service model.ServiceName
	Port    string // name of the port; "" is every port
	At      Position
}

// ParseBackendTLSPolicy checks a BackendTLSPolicy. When the problems Failed it must not be used.
func ParseBackendTLSPolicy(d *document.Document) (*BackendTLS, document.Problems) {
	c := &checker{doc: d}
	var in v1.BackendTLSPolicy
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &BackendTLS{Targets: c.tlsTargets(in.Spec.TargetRefs, spec.Key("targetRefs"))}
	options := spec.Key("options")
	for _, name := range sortedKeys(in.Spec.Options) {
		c.unsupported(options.Key(name))
	}
	f := spec.Key("validation")
	if !c.doc.Has(f) {
		c.add(f, "is missing", "write hostname, and caCertificateRefs or wellKnownCACertificates: System")
		return out, c.problems
	}
	v := &in.Spec.Validation
	host := v.Hostname
	if host == "" {
		c.add(f.Key("hostname"), "is missing or empty", "write the name that is asked for (SNI) and that the certificate has")
	} else {
		out.Hostname = c.preciseHost(&host, f.Key("hostname"))
	}
	out.Names = c.subjectNames(v.SubjectAltNames, f.Key("subjectAltNames"))
	out.CAs = c.backendCAs(v, f)
	return out, c.problems
}

func (c *checker) tlsTargets(in []v1.LocalPolicyTargetReferenceWithSectionName, f *document.Field) (out []TLSTarget) {
	if len(in) == 0 {
		c.add(f, "is missing or empty", "name the Service that is reached over TLS")
	}
	c.atMost(len(in), maxItems, "targets", f)
	whole := map[model.ServiceName]bool{} // without sectionName
	seen := map[TLSTarget]bool{}
	for i, ref := range in {
		at := f.Index(i)
		if ref.Group != "" || ref.Kind != "Service" {
			c.add(at.Key("kind"), fmt.Sprintf("a target of kind %q in group %q is not supported in this version of Weft", clip(string(ref.Kind)), clip(string(ref.Group))), `name a Service: kind: Service, group: ""`)
			continue
		}
		t := TLSTarget{Service: c.serviceName(string(ref.Name), v1.Namespace(c.doc.Namespace), at), Port: string(deref(ref.SectionName, ""))}
		before, other := whole[t.Service]
		switch {
		case seen[t]:
			c.add(at, fmt.Sprintf("the target %s is here twice", t.Service), "name it once, or with different sectionName")
		case other && before != (t.Port == ""):
			c.add(at, fmt.Sprintf("the target %s is here with sectionName and without", t.Service), "write a sectionName, the name of a port, for each")
		}
		whole[t.Service], seen[t] = t.Port == "", true
		t.At = c.position(at.Key("name"))
		out = append(out, t)
	}
	return out
}

func (c *checker) subjectNames(in []v1.SubjectAltName, f *document.Field) (out []string) {
	c.atMost(len(in), maxSubjectAltNames, "names", f)
	for i, n := range in {
		at := f.Index(i)
		switch n.Type {
		case v1.HostnameSubjectAltNameType:
			if n.URI != "" {
				c.add(at.Key("uri"), "is given, but type is Hostname", "write type: URI or remove it")
			}
			if n.Hostname == "" {
				c.add(at.Key("hostname"), "is missing, and type is Hostname", "write the host name that the certificate has")
				continue
			}
			c.hostname(string(n.Hostname), at.Key("hostname"))
			out = append(out, string(n.Hostname))
		case v1.URISubjectAltNameType:
			if n.Hostname != "" {
				c.add(at.Key("hostname"), "is given, but type is URI", "write type: Hostname or remove it")
			}
			c.absoluteURI(string(n.URI), at.Key("uri"))
			out = append(out, string(n.URI))
		case "":
			c.add(at.Key("type"), "is missing", "write Hostname or URI")
		default:
			c.oneOf(string(n.Type), []string{"Hostname", "URI"}, at.Key("type"))
		}
	}
	return out
}

// absoluteURI wants a URI with a scheme and something after it.
func (c *checker) absoluteURI(s string, f *document.Field) {
	if s == "" {
		c.add(f, "is missing, and type is URI", "write the URI that the certificate has, for example a SPIFFE ID")
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || !strings.Contains(s, "://") || u.Host == "" || len(s) > 253 {
		c.add(f, fmt.Sprintf("%q is no absolute URI", clip(s)), "for example spiffe://mesh.example/ns/default/sa/web, at most 253 bytes")
	}
}

func (c *checker) backendCAs(v *v1.BackendTLSPolicyValidation, f *document.Field) (out []ObjectRef) {
	refs, known := f.Key("caCertificateRefs"), f.Key("wellKnownCACertificates")
	set := string(deref(v.WellKnownCACertificates, ""))
	switch {
	case len(v.CACertificateRefs) > 0 && set != "":
		c.add(known, "is given beside caCertificateRefs", "keep one of them")
	case len(v.CACertificateRefs) == 0 && set == "":
		c.add(refs, "is missing, and so is wellKnownCACertificates", "name a ConfigMap with the key "+keyCA+", or write wellKnownCACertificates: System")
	case set != "" && set != string(v1.WellKnownCACertificatesSystem):
		c.add(known, fmt.Sprintf("unknown value %q", clip(set)), "write System")
	}
	c.atMost(len(v.CACertificateRefs), maxBackendCAs, "certificates", refs)
	for i, ref := range v.CACertificateRefs {
		if r := c.caRef(string(ref.Group), string(ref.Kind), string(ref.Name), v1.Namespace(c.doc.Namespace), refs.Index(i)); r != nil {
			out = append(out, *r)
		}
	}
	return out
}
