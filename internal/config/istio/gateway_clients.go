package istio

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// clientFields are those of ServerTLSSettings that are about certificates of clients, besides their CA.
func clientFields() []string {
	return []string{"caCrl", "subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash"}
}

// meaningless refuses fields that a mode has no use for, so that nobody believes in them.
func (c *checker) meaningless(f *document.Field, mode string, names ...string) {
	remedy := "remove it, or write mode: SIMPLE, MUTUAL or OPTIONAL_MUTUAL"
	if mode == "SIMPLE" {
		remedy = "remove it, or write mode: MUTUAL or OPTIONAL_MUTUAL"
	}
	for _, n := range names {
		if c.doc.Has(f.Key(n)) {
			c.add(f.Key(n), "has no meaning with mode "+mode, remedy)
		}
	}
}

// clients reads whether clients are asked for a certificate, and which of them are let in (Istio, ServerTLSSettings).
func (c *checker) clients(in *serverTLS, mode string, out *Server, f *document.Field) {
	skip := in.InsecureSkipVerify != nil && *in.InsecureSkipVerify
	switch {
	case mode == "SIMPLE":
		c.meaningless(f, mode, clientFields()...)
		if skip {
			c.meaningless(f, mode, "insecureSkipVerify")
		}
	case mode == "MUTUAL" && skip:
		out.ClientMode = model.ClientAny
	case mode == "MUTUAL":
		out.ClientMode = model.ClientRequired
	case skip:
		out.ClientMode = model.ClientOptional
	default:
		out.ClientMode = model.ClientIfGiven
	}
	c.oneOf(f, "caCertificates", "caCertCredentialName")
	out.ClientCA, out.CASecret = in.CaCertificates, in.CaCertCredentialName
	if out.ClientMode == "" {
		if in.CaCertificates != "" || in.CaCertCredentialName != "" {
			c.add(f, "names a CA, but asks for no client certificates", "write mode: MUTUAL or OPTIONAL_MUTUAL")
		}
		return
	}
	if skip {
		for _, n := range clientFields() {
			if c.doc.Has(f.Key(n)) {
				c.add(f.Key(n), "stands beside insecureSkipVerify, which lets in every certificate", "remove one of them")
			}
		}
		return
	}
	c.authorities(in, out, f)
	c.clientChecks(in, out, f)
}

// authorities wants a CA for every client.
func (c *checker) authorities(in *serverTLS, out *Server, f *document.Field) {
	if out.ClientCA != "" || out.CASecret != "" {
		return
	}
	each := len(in.TLSCertificates) > 0
	for _, t := range in.TLSCertificates {
		each = each && t.CaCertificates != ""
	}
	if each {
		return // each certificate has a CA of its own
	}
	if in.CredentialName == "" {
		c.add(f, "asks for client certificates, and names no CA for them", "write caCertificates, or a Secret with ca.crt in credentialName or caCertCredentialName")
	}
	out.CASecret = in.CredentialName
}

// clientChecks reads which certificates are let in, of those that the CA has signed.
func (c *checker) clientChecks(in *serverTLS, out *Server, f *document.Field) {
	checks := &model.ClientChecks{Names: in.SubjectAltNames, RevokedFile: in.CaCrl}
	names := f.Key("subjectAltNames")
	c.atMost(len(in.SubjectAltNames), maxItems, "names", names)
	for i, n := range in.SubjectAltNames {
		if n == "" || len(n) > 2048 || strings.ContainsAny(n, " \t\r\n") { // 2,048: SPIFFE ID, section 2.3
			c.add(names.Index(i), fmt.Sprintf("%q is no name of a certificate", clip(n)), "write a DNS name, a URI, a mail or an IP address")
		}
	}
	keys := f.Key("verifyCertificateSpki")
	c.atMost(len(in.VerifyCertificateSpki), maxItems, "hashes", keys)
	for i, s := range in.VerifyCertificateSpki {
		if b, err := base64.StdEncoding.DecodeString(s); err != nil || len(b) != sha256.Size {
			c.add(keys.Index(i), fmt.Sprintf("%q is no SHA-256 in base64", clip(s)),
				"write what `openssl x509 -in client.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64` prints")
			continue
		}
		checks.Keys = append(checks.Keys, s)
	}
	hashes := f.Key("verifyCertificateHash")
	c.atMost(len(in.VerifyCertificateHash), maxItems, "hashes", hashes)
	for i, s := range in.VerifyCertificateHash {
		plain := strings.ToLower(s)
		if len(s) == 3*sha256.Size-1 {
			plain = strings.ReplaceAll(plain, ":", "")
		}
		if b, err := hex.DecodeString(plain); err != nil || len(b) != sha256.Size {
			c.add(hashes.Index(i), fmt.Sprintf("%q is no SHA-256 in hexadecimal", clip(s)), "write what `openssl x509 -in client.crt -noout -fingerprint -sha256` prints behind the =")
			continue
		}
		checks.Hashes = append(checks.Hashes, plain)
	}
	if in.CaCrl != "" && out.CASecret != "" {
		c.add(f.Key("caCrl"), "is a file beside a CA of a Secret", "write the list under the key ca.crl of the Secret")
	}
	if len(checks.Names)+len(checks.Keys)+len(checks.Hashes) > 0 || checks.RevokedFile != "" {
		out.Checks = checks
	}
}
