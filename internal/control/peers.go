package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/identity"
)

const (
	instanceTTL     = 15 // seconds an instance outlives its control plane
	peerTimeout     = 5 * time.Second
	defaultTokenTTL = ca.DefaultTokenTTL
)

type peerKey struct{}

// announce keeps this control plane in the list of those that run, until ctx ends.
func (s *Server) announce(ctx context.Context) error {
	value, err := encode(instanceRecord{Address: s.peerAddress(), Started: s.started, Version: s.o.Version})
	if err != nil {
		return err
	}
	key := s.store.Prefix() + dirInstances + s.o.Instance
	for ctx.Err() == nil {
		if err := s.announceOnce(ctx, key, value); ctx.Err() == nil {
			s.o.Logger.Warn("this control plane could not announce itself", "error", err)
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = s.store.Client().Delete(end, key) // the lease would end it anyway
	return nil
}

// announceOnce holds a lease for as long as it lasts, and says why it ended.
func (s *Server) announceOnce(ctx context.Context, key, value string) error {
	lease, err := s.store.Client().Grant(ctx, instanceTTL)
	if err != nil {
		return err
	}
	if _, err := s.store.Client().Put(ctx, key, value, clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	alive, err := s.store.Client().KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	for range alive {
	}
	return errors.New("the lease was lost")
}

// peerAddress is where other control planes reach this one.
func (s *Server) peerAddress() string {
	if s.o.Advertise != "" {
		return s.o.Advertise
	}
	return s.proxyAt
}

// others returns the other control planes, by name.
func (s *Server) others() map[string]instanceRecord {
	all, own := s.state.peers(), s.peerAddress()
	maps.DeleteFunc(all, func(name string, rec instanceRecord) bool {
		// A record with our address is of a process before us that was killed, until its lease ends. To ask it is
		// to ask ourselves: every proxy and every request would count twice.
		return name == s.o.Instance || rec.Address == own
	})
	return all
}

// peerURL is what requests of a peerHTTP client begin with; it says nothing of where they go.
const peerURL = "https://weft-control"

// peer returns a client of another control plane.
func (s *Server) peer(address string) (adminv1connect.AdminServiceClient, func()) {
	c, closeIdle := s.peerHTTP(address)
	return adminv1connect.NewAdminServiceClient(c, peerURL), closeIdle
}

// peerHTTP returns an HTTP client of another control plane, authenticated both ways by the control plane's identity.
func (s *Server) peerHTTP(address string) (*http.Client, func()) {
	roots := x509.NewCertPool()
	for _, der := range s.ca.Bundle() {
		if cert, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(cert)
		}
	}
	certificate := s.ca.ServerCertificate(s.ca.ControlIdentity())
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate(nil)
		},
		// Names are SPIFFE IDs: VerifyConnection checks the chain and the name.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			id, err := identity.Verification{
				TrustDomain: s.ca.TrustDomain(), Roots: roots, Now: time.Now(), Usage: x509.ExtKeyUsageServerAuth,
			}.Verify(cs.PeerCertificates)
			if err == nil && id != s.ca.ControlIdentity() {
				err = fmt.Errorf("%s is no control plane", id)
			}
			return err
		},
	}
	t := &http.Transport{
		TLSClientConfig: conf, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: peerTimeout, PingTimeout: peerTimeout}, // or a host that is gone would not be missed
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			if path, ok := strings.CutPrefix(address, "unix://"); ok {
				return d.DialContext(ctx, "unix", path)
			}
			return d.DialContext(ctx, "tcp", address)
		},
	}
	return &http.Client{Transport: t}, t.CloseIdleConnections
}

// fanOut asks all other control planes at once and returns the answers there were. One that does not answer
// is left out and logged. A call that comes from a control plane is not passed on.
func fanOut[T any](ctx context.Context, s *Server, ask func(context.Context, adminv1connect.AdminServiceClient) (T, error)) []T {
	if ctx.Value(peerKey{}) != nil {
		return nil
	}
	var mu sync.Mutex
	var out []T
	var wg sync.WaitGroup
	for name, rec := range s.others() {
		wg.Go(func() {
			client, closeIdle := s.peer(rec.Address)
			defer closeIdle()
			answer, err := ask(ctx, client)
			if err != nil {
				s.o.Logger.Debug("another control plane did not answer", "instance", name, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, answer)
		})
	}
	wg.Wait()
	return out
}

// peersAnswer checks that every other control plane answers.
func (s *Server) peersAnswer(ctx context.Context) error {
	if ctx.Value(peerKey{}) != nil {
		return nil
	}
	var failed []error
	for name, rec := range s.others() {
		client, closeIdle := s.peer(rec.Address)
		if _, err := client.Version(ctx, connect.NewRequest(&adminv1.VersionRequest{})); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
		closeIdle()
	}
	return errors.Join(failed...)
}

// rootLife says whether the root ends soon.
func (s *Server) rootLife() error {
	const soon = 30 * 24 * time.Hour
	for _, der := range s.ca.Bundle()[:1] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		if left := time.Until(cert.NotAfter); left < soon {
			return fmt.Errorf("it ends in %v", left.Round(time.Hour))
		}
	}
	return nil
}

func isRequestError(err error) bool { return errors.Is(err, ca.ErrRequest) }
