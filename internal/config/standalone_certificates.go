package config

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

const (
	maxFileBytes = 1 << 20             // of a certificate or key file
	expirySoon   = 14 * 24 * time.Hour // before its end a certificate is warned of
)

// fileContent is what reading a file gave.
type fileContent struct {
	data []byte
	err  error
}

// certify finds the certificates of a TLS listener. One that does not resolve is left out; a listener without
// any is closed. Certificates that are there but cannot be used are an error: what runs is to go on.
func (c *standalone) certify(g *gate) {
	r := g.edge.resource
	for _, ref := range g.spec.Certificates {
		if cert, ok := c.secretOf(g, ref); ok {
			c.accept(g, ref.At, "the Secret "+ref.Secret.String(), cert)
		}
	}
	switch {
	case g.spec.CertFile == "":
	case c.joined:
		g.certificates = append(g.certificates, model.Certificate{ChainFile: g.spec.CertFile, KeyFile: g.spec.KeyFile})
	default:
		chain, okChain := c.file(g, g.spec.CertFile)
		key, okKey := c.file(g, g.spec.KeyFile)
		if okChain && okKey {
			c.accept(g, g.spec.FilesAt, "the pair "+g.spec.CertFile+" and "+g.spec.KeyFile, model.Certificate{Chain: string(chain), Key: model.Secret(key)})
		}
	}
	if len(g.certificates) == 0 && !g.spec.ACME {
		g.closed = true
		c.warn(r, g.spec.At, fmt.Sprintf("listener %s has no certificate and is not served", g.name()), "")
	}
}

// secretOf returns the certificate of a Secret that the listener may refer to.
func (c *standalone) secretOf(g *gate, ref gateway.SecretRef) (cert model.Certificate, ok bool) {
	r := g.edge.resource
	fail := func(reason, message, remedy string) {
		g.refused(failure{reason, message})
		c.warn(r, ref.At, message, remedy)
	}
	from := gateway.GrantFrom{Group: gateway.Group, Kind: g.edge.kind(), Namespace: r.Key.Namespace}
	if !c.granted(from, ref.Secret.Namespace, gateway.GrantTo{Kind: "Secret", Name: ref.Secret.Name}) {
		fail(ReasonRefNotPermitted, fmt.Sprintf("the Secret %s is in another namespace than the %s", ref.Secret, g.edge.kind()),
			"allow it with a ReferenceGrant in namespace "+ref.Secret.Namespace)
		return cert, false
	}
	found := c.secrets[ref.Secret]
	if found == nil {
		fail(ReasonInvalidCertificateRef, "there is no Secret "+ref.Secret.String(), "")
		return cert, false
	}
	secret := found.body.(*gateway.Secret)
	if !secret.TLS {
		fail(ReasonInvalidCertificateRef, fmt.Sprintf("the Secret %s is not of type kubernetes.io/tls", ref.Secret), "")
		return cert, false
	}
	return secret.Certificate, true
}

// file reads a certificate or key, whose name is relative to the document's, once in a compilation.
func (c *standalone) file(g *gate, name string) ([]byte, bool) {
	r := g.edge.resource
	fail := func(message string) {
		g.refused(failure{ReasonInvalidCertificateRef, message})
		c.report(r, g.spec.FilesAt, message, "", false)
	}
	if c.in.ReadFile == nil {
		fail("certificate files are not read here")
		return nil, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(r.File), name)
	}
	content, ok := c.files[name]
	if !ok {
		content.data, content.err = c.in.ReadFile(name)
		if content.err == nil && len(content.data) > maxFileBytes {
			content = fileContent{err: fmt.Errorf("%s has %d bytes, more than 1 MiB", name, len(content.data))}
		}
		c.files[name] = content
	}
	if content.err != nil {
		fail(fmt.Sprintf("reading failed: %v", content.err))
		return nil, false
	}
	return content.data, true
}

// accept checks that key and certificate fit and gives them to the listener. No error of crypto/tls quotes
// what is in them.
func (c *standalone) accept(g *gate, at gateway.Position, what string, cert model.Certificate) {
	r := g.edge.resource
	pair, err := tls.X509KeyPair([]byte(cert.Chain), []byte(cert.Key))
	if err != nil {
		message := fmt.Sprintf("%s cannot be used: %v", what, err)
		g.refused(failure{ReasonInvalidCertificateRef, message})
		c.report(r, at, message, "a certificate and its own private key, both PEM, are wanted", false)
		return
	}
	g.certificates = append(g.certificates, cert)
	if pair.Leaf == nil {
		return
	}
	if message, remedy := lifetime(c.in.Now, pair.Leaf.NotBefore, pair.Leaf.NotAfter); message != "" {
		c.warn(r, at, fmt.Sprintf("the certificate of %s %s", what, message), remedy)
	}
}
