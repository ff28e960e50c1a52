package identity_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/identity/identitytest"
	"github.com/weft-mesh/weft/internal/model"
)

// result is how a connection went: each side's first error, and the states.
type result struct {
	clientErr, serverErr error
	client, server       tls.ConnectionState
}

// shake shakes hands over the loopback and sends a byte each way.
func shake(t *testing.T, client, server *tls.Config) result {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return shakeOn(t, l, client, server)
}

func shakeOn(t *testing.T, l net.Listener, client, server *tls.Config) result {
	t.Helper()
	var r result
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			r.serverErr = err
			return
		}
		defer c.Close()
		tc := tls.Server(c, server)
		r.serverErr = exchange(tc)
		r.server = tc.ConnectionState()
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if client == nil {
		_, r.clientErr = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		c.Close()
	} else {
		tc := tls.Client(c, client)
		r.clientErr = exchange(tc)
		r.client = tc.ConnectionState()
		tc.Close()
	}
	<-done
	return r
}

func exchange(c *tls.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := c.Handshake(); err != nil {
		return err
	}
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestMutualTLS(t *testing.T) {
	ca := identitytest.NewCA(t, "mesh.test")
	a, b := ca.Source(t, ca.ID("shop", "web")), ca.Source(t, ca.ID("shop", "db"))
	clientConf, serverConf := a.ClientConfig(ca.ID("shop", "db")), b.ServerConfig()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 2 {
		r := shakeOn(t, l, clientConf, serverConf)
		if r.clientErr != nil || r.serverErr != nil {
			t.Fatalf("connection %d: client %v, server %v", i, r.clientErr, r.serverErr)
		}
		if got, err := identity.PeerIdentity(&r.server); err != nil || got != ca.ID("shop", "web") {
			t.Errorf("server sees %s, %v", got, err)
		}
		if got, err := identity.PeerIdentity(&r.client); err != nil || got != ca.ID("shop", "db") {
			t.Errorf("client sees %s, %v", got, err)
		}
		if r.client.Version != tls.VersionTLS13 || r.client.CurveID != tls.X25519MLKEM768 || r.client.NegotiatedProtocol != "h2" {
			t.Errorf("version %x curve %s protocol %q", r.client.Version, r.client.CurveID, r.client.NegotiatedProtocol)
		}
		if resumed := i > 0; r.client.DidResume != resumed {
			t.Errorf("connection %d: resumed %t", i, r.client.DidResume)
		}
	}
	// A resumed session is held to the same name.
	r := shakeOn(t, l, a.ClientConfig(ca.ID("shop", "other")), serverConf)
	if pe, ok := errors.AsType[*identity.PeerError](r.clientErr); !ok || pe.Kind != identity.Mismatch {
		t.Errorf("resumed with another name: %v", r.clientErr)
	}
	if r := shake(t, a.ClientConfig(model.Identity{}, "weft/1"), b.ServerConfig("weft/1", "h2")); r.clientErr != nil || r.client.NegotiatedProtocol != "weft/1" {
		t.Errorf("ALPN: %q %v", r.client.NegotiatedProtocol, r.clientErr)
	}
}

// TestClassify holds every refusal to the text an operator reads, on both sides.
func TestClassify(t *testing.T) {
	ca, foreign, twin := identitytest.NewCA(t, "mesh.test"), identitytest.NewCA(t, "other.test"), identitytest.NewCA(t, "mesh.test")
	server := ca.Source(t, ca.ID("shop", "db"))
	good := ca.Source(t, ca.ID("shop", "web"))
	raw := func(c tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{c}}
	}
	expired := ca.Certificate(t, ca.ID("shop", "web"), time.Now().Add(-2*time.Hour), time.Hour)
	for name, tc := range map[string]struct {
		client         *tls.Config
		server         *tls.Config
		serverSays     string
		clientSays     string
		clientContains bool
	}{
		"plaintext":            {nil, server.ServerConfig(), "plaintext", "", false},
		"no certificate":       {&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}, server.ServerConfig(), "no client certificate", "refused by peer: certificate required", false},
		"foreign domain":       {foreign.Source(t, foreign.ID("shop", "web")).ClientConfig(model.Identity{}), server.ServerConfig(), "", "unknown authority: CN=Weft intermediate mesh.test,O=Weft, trust domain mesh.test", false},
		"foreign client":       {raw(foreign.Certificate(t, foreign.ID("shop", "web"), time.Now(), time.Hour)), server.ServerConfig(), "unknown authority: CN=Weft intermediate other.test,O=Weft, trust domain other.test", "refused by peer: bad certificate", false},
		"same name, other CA":  {raw(twin.Certificate(t, twin.ID("shop", "web"), time.Now(), time.Hour)), server.ServerConfig(), "unknown authority: CN=Weft intermediate mesh.test,O=Weft, trust domain mesh.test", "refused by peer: bad certificate", false},
		"foreign name, our CA": {raw(ca.Certificate(t, foreign.ID("shop", "web"), time.Now(), time.Hour)), server.ServerConfig(), "unknown authority: CN=Weft intermediate mesh.test,O=Weft, trust domain other.test", "refused by peer: bad certificate", false},
		"expired client":       {raw(expired), server.ServerConfig(), "expired: spiffe://mesh.test/ns/shop/sa/web, valid until ", "refused by peer: bad certificate", true},
		"expired server":       {good.ClientConfig(model.Identity{}), raw(expired), "refused by peer: bad certificate", "expired: spiffe://mesh.test/ns/shop/sa/web, valid until ", true},
		"mismatch":             {good.ClientConfig(ca.ID("shop", "pay")), server.ServerConfig(), "refused by peer: bad certificate", "identity mismatch: got spiffe://mesh.test/ns/shop/sa/db want spiffe://mesh.test/ns/shop/sa/pay", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := shake(t, tc.client, tc.server)
			check := func(side string, err error, want string) {
				got := identity.Classify(err)
				if want != "" && got != want && !(tc.clientContains && strings.HasPrefix(got, want)) {
					t.Errorf("%s says %q (%v), want %q", side, got, err, want)
				}
				if want != "" && err == nil {
					t.Errorf("%s has no error", side)
				}
			}
			check("server", r.serverErr, tc.serverSays)
			check("client", r.clientErr, tc.clientSays)
		})
	}
	if got := identity.Classify(nil); got != "" {
		t.Errorf("Classify(nil) = %q", got)
	}
	if got := identity.Classify(io.EOF); got != "EOF" {
		t.Errorf("Classify(EOF) = %q", got)
	}
}

func TestIdentityOf(t *testing.T) {
	ca := identitytest.NewCA(t, "mesh.test")
	if _, err := identity.IdentityOf(ca.Root.Cert); err == nil {
		t.Error("a root passes for an SVID")
	}
	if _, err := identity.PeerIdentity(nil); err == nil {
		t.Error("no connection has a peer")
	}
}

func TestNewStaticErrors(t *testing.T) {
	ca, other := identitytest.NewCA(t, "mesh.test"), identitytest.NewCA(t, "mesh.test")
	cert, key, bundle := ca.PEM(t, ca.ID("a", "b"))
	_, key2, bundle2 := other.PEM(t, other.ID("a", "b"))
	rsa := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("nonsense")})
	for name, in := range map[string][3][]byte{
		"empty": {}, "other key": {cert, key2, bundle}, "other root": {cert, key, bundle2}, "swapped": {key, cert, bundle}, "bad key": {cert, rsa, bundle}, "no bundle": {cert, key, nil},
	} {
		if _, err := identity.NewStatic(in[0], in[1], in[2]); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), string(key)) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	s, err := identity.NewStatic(cert, key, bundle)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Ready()
	if s.Current().Identity != ca.ID("a", "b") || s.HTTPClient() != nil || s.BaseURL() != "" {
		t.Errorf("static source: %+v", s.Current())
	}
}

// tlsPair shakes hands between the ends of a pipe.
func tlsPair(a, b net.Conn, client, server *tls.Config) (c, s *tls.Conn) {
	c, s = tls.Client(a, client), tls.Server(b, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Handshake() // the client's error tells enough
	}()
	_ = c.Handshake()
	<-done
	return c, s
}
