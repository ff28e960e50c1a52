package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/identity/identitytest"
	"github.com/weft-mesh/weft/internal/model"
)

// pipeNet is a network of in-memory connections, which testing/synctest can see through.
type pipeNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	down  bool
	dials int
}

func newPipeNet() *pipeNet { return &pipeNet{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeNet) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (p *pipeNet) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *pipeNet) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	p.dials++
	down := p.down
	p.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	a, b := bufPipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// signing is one call the control plane saw.
type signing struct {
	token string
	peer  model.Identity
	at    time.Time
}

// controlPlane is a control plane that signs, over real TLS and HTTP/2.
type controlPlane struct {
	t      *testing.T
	ca     *identitytest.CA
	id     model.Identity // whom it certifies
	ttl    time.Duration
	refuse error // returned instead of a certificate
	server *http.Server

	mu   sync.Mutex
	seen []signing
}

type peerKey struct{}

func (c *controlPlane) serve(l net.Listener, cert tls.Certificate) {
	mux := http.NewServeMux()
	path, h := discoveryv1connect.NewIdentityServiceHandler(c)
	mux.Handle(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := identity.PeerIdentity(r.TLS)
		if err != nil {
			peer = model.Identity{}
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, peer)))
	}))
	pool := x509.NewCertPool()
	pool.AddCert(c.ca.Root.Cert)
	c.server = &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, NextProtos: []string{"h2"},
	}}
	go c.server.ServeTLS(l, "", "")
}

func (c *controlPlane) SignCertificate(ctx context.Context, req *connect.Request[discoveryv1.SignCertificateRequest]) (*connect.Response[discoveryv1.SignCertificateResponse], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	peer, _ := ctx.Value(peerKey{}).(model.Identity)
	c.seen = append(c.seen, signing{req.Msg.GetJoinToken(), peer, time.Now()})
	if c.refuse != nil {
		return nil, c.refuse
	}
	csr, err := x509.ParseCertificateRequest(req.Msg.GetCsr())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	leaf, err := c.ca.Issuer.Leaf(c.id, csr.PublicKey.(*ecdsa.PublicKey), time.Now(), c.ttl)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	return connect.NewResponse(&discoveryv1.SignCertificateResponse{
		Chain: [][]byte{leaf.Raw, c.ca.Issuer.Cert.Raw}, Bundle: [][]byte{c.ca.Root.Cert.Raw},
	}), nil
}

func (c *controlPlane) setRefuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = err
}

func (c *controlPlane) calls() []signing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]signing(nil), c.seen...)
}

// start runs a control plane of ca on a fake network.
func start(t *testing.T, ca *identitytest.CA, ttl time.Duration) (*controlPlane, *pipeNet) {
	t.Helper()
	cp := &controlPlane{t: t, ca: ca, id: ca.ID("shop", "web"), ttl: ttl}
	network := newPipeNet()
	cp.serve(network, ca.Certificate(t, identity.ControlIdentity(ca.TrustDomain), time.Now(), 5*365*24*time.Hour))
	return cp, network
}
