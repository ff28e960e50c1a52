package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Times of a connection to the control plane.
const (
	dialTimeout    = 5 * time.Second
	attemptTimeout = 20 * time.Second // of one SignCertificate, handshake included
	idleTimeout    = 90 * time.Second
	pingAfter      = 15 * time.Second // of silence: a control plane that vanished is noticed
	pingTimeout    = 10 * time.Second
)

type dialFunc func(ctx context.Context) (net.Conn, error)

// control is the way to the control plane.
type control struct {
	base   string
	dial   dialFunc
	client *http.Client
}

// parseControl reads "unix:///path" or "host:port".
func parseControl(addr string) (dialFunc, string, error) {
	network, host := "tcp", addr
	base := "https://" + addr
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return nil, "", fmt.Errorf("control plane address %q: the path of a unix socket is absolute: unix:///run/weft/proxy.sock", addr)
		}
		// The authority is only for the Host header; trust comes from the SPIFFE ID.
		network, host, base = "unix", path, "https://"+ControlAccount
	} else if _, port, err := net.SplitHostPort(addr); err != nil || !validPort(port) {
		return nil, "", fmt.Errorf("control plane address %q is neither unix:///path nor host:port", addr)
	}
	d := &net.Dialer{Timeout: dialTimeout}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, host) }, base, nil
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// controlClient returns an HTTP/2-only client over conf.
func (s *Source) controlClient(conf *tls.Config) *http.Client {
	h2 := new(http.Protocols)
	h2.SetHTTP2(true)
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return s.control.dial(ctx)
			},
			TLSClientConfig:     conf,
			TLSHandshakeTimeout: dialTimeout,
			Protocols:           h2,
			IdleConnTimeout:     idleTimeout,
			HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
		// A control plane does not redirect, and a redirect must not carry a token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bootstrapConfig is for the one connection without an SVID: the server must chain to the root whose hash is
// in the token, so the secret goes to nobody else.
func (s *Source) bootstrapConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   curves(),
		NextProtos:         []string{"h2"},
		Time:               s.now,
		InsecureSkipVerify: true, // VerifyConnection verifies, against the pin
		VerifyConnection: func(cs tls.ConnectionState) error {
			return s.verifyPinned(cs.PeerCertificates)
		},
	}
}

func (s *Source) verifyPinned(certs []*x509.Certificate) error {
	roots := x509.NewCertPool()
	pinned := false
	for _, c := range certs {
		if s.token.PinMatches(c.Raw) {
			roots.AddCert(c)
			pinned = true
		}
	}
	if !pinned {
		detail := "it shows no certificate"
		if n := len(certs); n > 0 {
			detail = "its chain ends in " + certs[n-1].Subject.String()
		}
		return &PeerError{Kind: PinMismatch, Detail: detail}
	}
	v := Verification{TrustDomain: s.token.TrustDomain, Roots: roots, Now: s.now(), Usage: x509.ExtKeyUsageServerAuth}
	got, err := v.Verify(certs)
	if err != nil {
		return err
	}
	if want := ControlIdentity(s.token.TrustDomain); got != want {
		return &PeerError{Kind: Mismatch, Got: got, Want: want}
	}
	return nil
}
