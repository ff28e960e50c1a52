package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// probeEvery is the pause between rounds, and the bound on waiting for a server's verdict on our certificate.
const probeEvery = 500 * time.Millisecond

// probe returns nil as soon as one endpoint accepts a connection (and a handshake, with conf). It tries until
// ctx ends, but gives up at once where TLS is refused by all: trying again cannot help.
func probe(ctx context.Context, endpoints []string, conf *tls.Config) error {
	began := time.Now()
	reasons := make([]string, len(endpoints))
	for {
		refused := 0
		for i, e := range endpoints {
			err := probeOne(ctx, e, conf)
			if err == nil {
				return nil
			}
			if _, ok := errors.AsType[*tlsError](err); ok {
				refused++
			}
			if reasons[i] == "" || ctx.Err() == nil { // that our own time is up says less than what was before
				reasons[i] = e + " (" + err.Error() + ")"
			}
		}
		if refused == len(endpoints) {
			return &Error{
				Kind: ErrCredentials, Place: strings.Join(endpoints, ", "), Reason: "TLS refused: " + strings.Join(reasons, ", "), Code: exitNoPerm,
				Remedy: "check --store-ca, --store-cert and --store-key",
			}
		}
		t := time.NewTimer(probeEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return &Error{
				Kind: ErrUnreachable, Place: strings.Join(endpoints, ", "), Code: exitUnavailable, Err: ctx.Err(),
				Reason: fmt.Sprintf("no endpoint reached within %s: %s", time.Since(began).Round(100*time.Millisecond), strings.Join(reasons, ", ")),
				Remedy: "check that the cluster runs and can be reached from here",
			}
		case <-t.C:
		}
	}
}

// tlsError is a failure of the handshake, as against one of the network.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

func probeOne(ctx context.Context, endpoint string, conf *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	if conf == nil {
		return nil
	}
	conf = conf.Clone()
	conf.NextProtos = []string{"h2"}
	if conf.ServerName, _, err = net.SplitHostPort(endpoint); err != nil {
		return err
	}
	tc := tls.Client(conn, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		return handshakeError(err)
	}
	// In TLS 1.3 the server judges our certificate after our handshake is done; an HTTP/2 server that is
	// content speaks first (its SETTINGS), one that is not sends an alert.
	if err := tc.SetReadDeadline(time.Now().Add(probeEvery)); err != nil {
		return err
	}
	if _, err := tc.Read(make([]byte, 1)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
			return handshakeError(err)
		}
	}
	return nil
}

// handshakeError tells what a new certificate can mend from what time can.
func handshakeError(err error) error {
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	if plain || cert || host || strings.Contains(err.Error(), "remote error: tls:") {
		return &tlsError{err}
	}
	return err
}
