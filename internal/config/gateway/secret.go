package gateway

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// coreSecret is what is read of a core/v1 Secret. Values are of type any, so that no problem of decoding
// quotes them.
type coreSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Type              string `json:"type"`
	Immutable         any    `json:"immutable"`
	Data              any    `json:"data"`
	StringData        any    `json:"stringData"`
}

// typeTLS is the type of a Secret with a certificate.
const typeTLS = "kubernetes.io/tls"

// Keys of a Secret with a certificate.
const (
	keyCertificate = "tls.crt"
	keyPrivate     = "tls.key"
	keyAuthority   = "ca.crt"
	keyRevoked     = "ca.crl"
)

// Secret is a checked core Secret with a certificate.
type Secret struct {
	TLS         bool // it is of type kubernetes.io/tls; a Secret of another type has nothing for us
	Certificate model.Certificate
	CA          string // PEM; of a Secret of any type
	Revoked     string // lists of certificates that CA has revoked, PEM
	At          Position

	Leaf *x509.Certificate // of Certificate, where the Secret is a control plane's
	Type string            // as written
	Keys []string          // names of its values, sorted
}

// ParseSecret checks a core/v1 Secret. No problem quotes its values.
func ParseSecret(d *document.Document) (*Secret, document.Problems) {
	c := &checker{doc: d}
	var in coreSecret
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	out := &Secret{TLS: in.Type == typeTLS, Type: in.Type, At: c.position(document.Path("metadata", "name"))}
	values := map[string]string{}
	c.secretValues(in.Data, values, document.Path("data"), true)
	c.secretValues(in.StringData, values, document.Path("stringData"), false)
	out.CA, out.Revoked, out.Keys = values[keyAuthority], values[keyRevoked], sortedKeys(values)
	if !out.TLS || c.problems.Failed() {
		return out, c.problems
	}
	for _, k := range []string{keyCertificate, keyPrivate} {
		if values[k] == "" {
			c.add(document.Path("data", k), "is missing or empty", "a Secret of type "+typeTLS+" has "+keyCertificate+" and "+keyPrivate)
		}
	}
	out.Certificate = model.Certificate{Chain: values[keyCertificate], Key: model.Secret(values[keyPrivate])}
	return out, c.problems
}

// secretValues reads data, in base64, or stringData, which goes over it.
func (c *checker) secretValues(in any, into map[string]string, f *document.Field, encoded bool) {
	if in == nil {
		return
	}
	values, ok := in.(map[string]any)
	if !ok {
		c.add(f, "wants a mapping of names to strings", "")
		return
	}
	for _, k := range sortedKeys(values) {
		at := f.Key(k)
		s, ok := values[k].(string)
		if !ok {
			c.add(at, "wants a string", "quote it")
			continue
		}
		if strings.HasPrefix(s, hiddenValue) || strings.HasPrefix(s, shownValue) {
			c.add(at, "is what Weft shows in place of the value", "write the value itself: Weft never shows it")
			continue
		}
		if encoded {
			raw, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				remedy := "encode it, or write it under stringData as it is"
				c.add(at, fmt.Sprintf("is not base64 (%d bytes)", len(s)), remedy)
				continue
			}
			s = string(raw)
		}
		into[k] = s
	}
}
