package istio

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// terms reads what is agreed on in handshakes: versions and cipher suites.
func (c *checker) terms(in *serverTLS, out *Server, f *document.Field) {
	t := model.TLSTerms{Min: c.version(in.MinProtocolVersion, f.Key("minProtocolVersion")), Max: c.version(in.MaxProtocolVersion, f.Key("maxProtocolVersion"))}
	if t.Min == model.TLS13 && t.Max == model.TLS12 {
		c.add(f.Key("maxProtocolVersion"), "is less than minProtocolVersion", "write TLSV1_3")
	}
	if len(in.CipherSuites) > 0 {
		at := f.Key("cipherSuites")
		c.atMost(len(in.CipherSuites), maxItems, "suites", at)
		if t.Suites = c.suites(in.CipherSuites, at); len(t.Suites) == 0 {
			if t.Max == model.TLS12 {
				c.add(at, "has no suite for TLS 1.2, which is the version at most", "write one, or maxProtocolVersion: TLSV1_3")
			}
			t.Min = model.TLS13 // others than those listed are not meant
		}
	}
	if t.Min == model.TLS12 {
		t.Min = ""
	}
	if t.Max == model.TLS13 {
		t.Max = ""
	}
	if t.Min != "" || t.Max != "" || len(t.Suites) > 0 {
		out.Terms = &t
	}
}

// version takes what Weft speaks: TLS 1.2 and 1.3.
func (c *checker) version(s string, f *document.Field) string {
	known := []string{"TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"}
	if !c.enum(&s, known, f) {
		return ""
	}
	switch s {
	case "TLS_AUTO":
		return ""
	case "TLSV1_2":
		return model.TLS12
	case "TLSV1_3":
		return model.TLS13
	}
	c.add(f, s+" is not supported in this version of Weft, which speaks TLS 1.2 and 1.3", "write TLSV1_2 or TLSV1_3")
	return ""
}

// suites returns the suites of TLS 1.2, by their IANA names.
func (c *checker) suites(in []string, f *document.Field) (out []string) {
	known := opensslSuites()
	for i, s := range in {
		at, name := f.Index(i), s
		if iana, ok := known[s]; ok {
			name = iana
		}
		safe := func(x *tls.CipherSuite) bool { return x.Name == name }
		found := slices.IndexFunc(tls.CipherSuites(), safe)
		switch {
		case found < 0 && (slices.Contains(unsafeOpenSSL(), s) || slices.ContainsFunc(tls.InsecureCipherSuites(), safe)):
			c.add(at, fmt.Sprintf("the suite %q is not supported in this version of Weft: Go's crypto/tls calls it insecure", clip(s)), "write ECDHE with AES-GCM or CHACHA20-POLY1305")
		case found < 0:
			c.add(at, fmt.Sprintf("unknown cipher suite %q", clip(s)), cmp.Or(document.DidYouMean(s, suiteNames()), "write a name as ECDHE-RSA-AES128-GCM-SHA256"))
		case !slices.Contains(tls.CipherSuites()[found].SupportedVersions, tls.VersionTLS12):
			p := c.doc.Problem(at, fmt.Sprintf("the suite %q has no effect: those of TLS 1.3 are on always", s)).With("remove it")
			c.problems = append(c.problems, p.AsWarning())
		case slices.Contains(out, name):
			c.add(at, fmt.Sprintf("the suite %q is here twice", s), "name it once")
		default:
			out = append(out, name)
		}
	}
	http2 := func(s string) bool { return !strings.Contains(s, "_CBC_") }
	if len(out) > 0 && !slices.ContainsFunc(out, http2) {
		p := c.doc.Problem(f, "clients that speak TLS 1.2 and HTTP/2 may refuse all of these suites (RFC 9113, section 9.2.2)")
		c.problems = append(c.problems, p.With("add one with GCM or CHACHA20").AsWarning())
	}
	return out
}

// suiteNames are all names of suites that are taken.
func suiteNames() []string {
	var out []string
	for name := range opensslSuites() {
		out = append(out, name)
	}
	for _, s := range tls.CipherSuites() {
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return out
}

// opensslSuites are the names that OpenSSL and Envoy have for the suites of TLS 1.2 that Go's crypto/tls thinks safe.
func opensslSuites() map[string]string {
	return map[string]string{
		"ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		"ECDHE-RSA-AES128-GCM-SHA256":   "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		"ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"ECDHE-RSA-AES256-GCM-SHA384":   "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		"ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		"ECDHE-RSA-CHACHA20-POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		"ECDHE-ECDSA-AES128-SHA":        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
		"ECDHE-RSA-AES128-SHA":          "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
		"ECDHE-ECDSA-AES256-SHA":        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
		"ECDHE-RSA-AES256-SHA":          "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
	}
}

// unsafeOpenSSL are names of Istio's list for suites that are not among them.
func unsafeOpenSSL() []string {
	return []string{"AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA"}
}
