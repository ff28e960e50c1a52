package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Kind is why a peer was refused. Its text is fit for a log field or a metric label.
type Kind string

// The reasons to refuse a peer.
const (
	Plaintext        Kind = "plaintext"
	NoCertificate    Kind = "no client certificate"
	UnknownAuthority Kind = "unknown authority"
	Expired          Kind = "expired"
	Mismatch         Kind = "identity mismatch"
	Malformed        Kind = "malformed certificate"
	NotReady         Kind = "no identity yet" // our own fault: the first SVID has not come
	PinMismatch      Kind = "not the control plane the join token is for"
)

// PeerError says why a handshake was refused.
type PeerError struct {
	Kind   Kind
	Detail string         // more of the reason, without secrets
	Got    model.Identity // whose certificate it was, if that could be read
	Want   model.Identity // for Mismatch
	Err    error
}

// Error returns "<kind>: <detail>", or "identity mismatch: got X want Y".
func (e *PeerError) Error() string {
	s := string(e.Kind)
	if e.Kind == Mismatch {
		return s + ": got " + e.Got.String() + " want " + e.Want.String()
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap returns the underlying error, if any.
func (e *PeerError) Unwrap() error { return e.Err }

// RefusedError is a permanent refusal: trying again with the same token cannot help.
type RefusedError struct {
	Reason string // with the remedy
	Err    error
}

// Error returns the reason.
func (e *RefusedError) Error() string { return "join refused: " + e.Reason }

// Unwrap returns the underlying error.
func (e *RefusedError) Unwrap() error { return e.Err }

// ExitCode is EX_DATAERR of sysexits.h.
func (e *RefusedError) ExitCode() int { return 65 }

// Classify says in one line why a TLS handshake (or the first read after it, since a TLS 1.3 client learns
// only there that it was refused) failed. It returns "" for nil and the error's own text if it knows no better.
func Classify(err error) string {
	if err == nil {
		return ""
	}
	if pe, ok := errors.AsType[*PeerError](err); ok {
		return pe.Error()
	}
	if rh, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		if plainHTTP(rh.RecordHeader[:]) || !tlsRecord(rh.RecordHeader[0]) {
			return string(Plaintext)
		}
		return "malformed TLS record"
	}
	if ua, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		s := string(UnknownAuthority)
		if ua.Cert != nil {
			s += ": " + ua.Cert.Issuer.String()
		}
		return s
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		return string(Expired)
	}
	// crypto/tls has no types for these; TestClassify fails if their text changes.
	s := err.Error()
	switch {
	case strings.Contains(s, "client didn't provide a certificate"):
		return string(NoCertificate)
	case strings.Contains(s, "first record does not look like a TLS handshake"):
		return string(Plaintext)
	}
	if _, alert, ok := strings.Cut(s, "remote error: tls: "); ok {
		return "refused by peer: " + alert
	}
	return s
}

func tlsRecord(typ byte) bool { return typ >= 20 && typ <= 24 }

func plainHTTP(head []byte) bool {
	for _, m := range []string{"GET ", "HEAD", "POST", "PUT ", "OPTI", "DELE", "PATC", "CONN", "PRI ", "TRAC", "HTTP"} {
		if strings.HasPrefix(string(head), m) {
			return true
		}
	}
	return false
}
