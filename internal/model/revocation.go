package model

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Revocations are lists of revoked certificates (RFC 5280, section 5). They are not changed.
type Revocations struct {
	lists   map[string][]revocationList // by issuer (its DER)
	expires time.Time
}

// revocationList is one list. Who signed it is looked at when a certificate of its issuer is.
type revocationList struct {
	list    *x509.RevocationList
	serials map[string]bool
}

// maxRevocationLists bounds the lists of one text.
const maxRevocationLists = 64

// ParseRevocations reads lists in PEM, one at least. Delta lists, and lists with another critical extension, are errors:
// whoever does not know such an extension must not go by the list (RFC 5280, section 5.2). The signatures are checked by
// Check.
func ParseRevocations(text string) (*Revocations, error) {
	out := &Revocations{lists: map[string][]revocationList{}}
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if n++; block.Type != "X509 CRL" {
			return nil, fmt.Errorf("PEM block %d is no list of revoked certificates (X509 CRL)", n)
		}
		if n > maxRevocationLists {
			return nil, fmt.Errorf("there are more than %d lists of revoked certificates", maxRevocationLists)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list %d: %w", n, err)
		}
		for _, x := range list.Extensions {
			if x.Critical {
				return nil, fmt.Errorf("list %d has the critical extension %s, which is not supported", n, x.Id)
			}
		}
		out.add(list)
	}
	if n == 0 {
		return nil, errors.New("it has no list of revoked certificates in PEM (X509 CRL)")
	}
	return out, nil
}

func (r *Revocations) add(list *x509.RevocationList) {
	l := revocationList{list, make(map[string]bool, len(list.RevokedCertificateEntries))}
	for _, e := range list.RevokedCertificateEntries {
		l.serials[e.SerialNumber.String()] = true
	}
	r.lists[string(list.RawIssuer)] = append(r.lists[string(list.RawIssuer)], l)
	if !list.NextUpdate.IsZero() && (r.expires.IsZero() || list.NextUpdate.Before(r.expires)) {
		r.expires = list.NextUpdate
	}
}

// Expires is when the first of the lists ends, after which certificates of its issuer are refused. The zero time is never.
func (r *Revocations) Expires() time.Time { return r.expires }

// Check returns an error unless one of the verified chains (leaf first) has no revoked certificate. Every certificate of
// a chain but the root needs a list of its issuer that is signed by it and in force at the time now, as in Envoy
// (CertificateValidationContext.crl): who can hide a list must not thereby let somebody in.
func (r *Revocations) Check(chains [][]*x509.Certificate, now time.Time) error {
	err := errors.New("the certificate was not verified")
	for _, chain := range chains {
		if err = r.checkChain(chain, now); err == nil {
			return nil
		}
	}
	return err
}

func (r *Revocations) checkChain(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 1 {
		return r.checkOne(chain[0], chain[0], now)
	}
	for i := range len(chain) - 1 {
		if err := r.checkOne(chain[i], chain[i+1], now); err != nil {
			return err
		}
	}
	return nil
}

func (r *Revocations) checkOne(c, issuer *x509.Certificate, now time.Time) error {
	err, covered := fmt.Errorf("there is no list of certificates that %q has revoked", issuer.Subject), false
	for _, l := range r.lists[string(c.RawIssuer)] {
		switch {
		case l.list.CheckSignatureFrom(issuer) != nil:
			err = fmt.Errorf("the list of certificates that %q has revoked is not signed by it", issuer.Subject)
		case now.Before(l.list.ThisUpdate), !l.list.NextUpdate.IsZero() && now.After(l.list.NextUpdate):
			err = fmt.Errorf("the list of certificates that %q has revoked holds from %s to %s", issuer.Subject,
				l.list.ThisUpdate.UTC().Format(time.RFC3339), l.list.NextUpdate.UTC().Format(time.RFC3339))
		case l.serials[c.SerialNumber.String()]:
			return fmt.Errorf("the certificate %q with the serial number %s is revoked", c.Subject, c.SerialNumber.Text(16))
		default:
			covered = true
		}
	}
	if covered {
		return nil
	}
	return err
}
