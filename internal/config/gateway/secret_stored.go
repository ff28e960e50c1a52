package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// What is shown of the values of a Secret begins so, and a document that has it is refused: it was shown, and changed.
const (
	hiddenValue = "[hidden]"
	shownValue  = "[certificate "
)

// typeOpaque is the type of Secrets of any content, and of those that say none.
const typeOpaque = "Opaque"

// maxShownNames bounds the names of a certificate that are shown.
const maxShownNames = 10

// ParseStoredSecret is ParseSecret for a Secret that a control plane keeps, which is one with a certificate or a CA's:
// what is in it has to be usable, and is looked at now and not when somebody refers to it.
func ParseStoredSecret(d *document.Document) (*Secret, document.Problems) {
	out, problems := ParseSecret(d)
	if problems.Failed() {
		return out, problems
	}
	c := &checker{doc: d, problems: problems}
	switch {
	case out.TLS:
		c.pair(out)
	case out.Type != "" && out.Type != typeOpaque:
		what := "this type"
		if document.CheckSubdomain(strings.Replace(out.Type, "/", ".", 1)) == "" {
			what = fmt.Sprintf("type %q", out.Type) // and no value that went astray
		}
		c.add(document.Path("type"), "a Secret of "+what+" has nothing that Weft reads", "leave the document out here")
		return nil, c.problems
	case out.CA == "":
		c.problems = append(c.problems, d.Problem(document.Path("metadata", "name"), "the Secret has no key "+keyAuthority+", and nothing refers to others").
			With("certificates of listeners want type: "+typeTLS).AsWarning())
	}
	if out.CA != "" {
		if err := CheckAuthorities(out.CA); err != nil {
			c.add(c.valueOf(keyAuthority), err.Error(), "certificates in PEM are wanted")
		}
	}
	if out.Revoked != "" {
		if _, err := model.ParseRevocations(out.Revoked); err != nil {
			c.add(c.valueOf(keyRevoked), err.Error(), "lists of revoked certificates in PEM are wanted")
		}
	}
	if c.problems.Failed() {
		return nil, c.problems
	}
	return out, c.problems
}

// valueOf is where a value was written: stringData goes over data.
func (c *checker) valueOf(key string) *document.Field {
	if at := document.Path("stringData", key); c.doc.Has(at) {
		return at
	}
	return document.Path("data", key)
}

// pair wants a certificate and its own key. No error of crypto/tls quotes what is in them.
func (c *checker) pair(s *Secret) {
	remedy := "a certificate and its own private key, both PEM, are wanted"
	if _, err := leafOf(s.Certificate.Chain); err != nil {
		c.add(c.valueOf(keyCertificate), err.Error(), remedy)
		return
	}
	pair, err := tls.X509KeyPair([]byte(s.Certificate.Chain), []byte(s.Certificate.Key))
	if err != nil {
		c.add(c.valueOf(keyPrivate), "cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "), remedy)
		return
	}
	s.Leaf = pair.Leaf
	s.At = c.position(c.valueOf(keyCertificate))
}

// leafOf parses the first certificate of a chain.
func leafOf(chain string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(chain))
	switch {
	case block == nil:
		return nil, errors.New("has no certificate in PEM")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("begins with a %s in place of the certificate", clip(block.Type))
	}
	return x509.ParseCertificate(block.Bytes)
}

// CheckAuthorities wants one certificate at least, and nothing else.
func CheckAuthorities(text string) error {
	if text == "" {
		return errors.New("it has no key " + keyAuthority)
	}
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if n++; block.Type != "CERTIFICATE" {
			return fmt.Errorf("PEM block %d is a %s", n, clip(block.Type))
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d: %w", n, err)
		}
	}
	if n == 0 {
		return errors.New("it has no certificate in PEM")
	}
	return nil
}

// Outline is what may be shown of a Secret: the names of its values, and of certificates whose they are and until
// when they hold. Annotations are left out: kubectl keeps the whole document in one.
func (s *Secret) Outline(d *document.Document) string {
	data := map[string]string{}
	for _, k := range s.Keys {
		data[k] = hiddenValue
		switch k {
		case keyCertificate:
			data[k] = shown(s.Certificate.Chain)
		case keyAuthority:
			data[k] = shown(s.CA)
		}
	}
	out := map[string]any{
		"apiVersion": d.APIVersion, "kind": d.Kind, "metadata": map[string]string{"name": d.Name, "namespace": d.Namespace}, "data": data,
	}
	if s.Type != "" {
		out["type"] = s.Type
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		return "" // of strings: it cannot fail
	}
	return string(text)
}

// shown describes the first certificate of a text.
func shown(text string) string {
	leaf, err := leafOf(text)
	if err != nil {
		return hiddenValue
	}
	sum := sha256.Sum256(leaf.Raw)
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	if n := len(names) - maxShownNames; n > 0 {
		names = append(names[:maxShownNames], fmt.Sprintf("%d more", n))
	}
	out := shownValue + "subject " + fmt.Sprintf("%q", leaf.Subject.String())
	if len(names) > 0 {
		out += ", for " + strings.Join(names, " ")
	}
	return out + ", expires " + leaf.NotAfter.UTC().Format(time.RFC3339) + ", SHA-256 " + hex.EncodeToString(sum[:]) + "]"
}
