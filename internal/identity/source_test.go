package identity_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/identity/identitytest"
	"github.com/weft-mesh/weft/internal/model"
)

func tokenFor(ca *identitytest.CA) string {
	sum := sha256.Sum256(ca.Root.Cert.Raw)
	return identity.Token{TrustDomain: ca.TrustDomain, Pin: sum[:], ID: "t1", Secret: identity.Secret(secret32)}.Text()
}

// run starts Run and returns a way to end it that yields its result.
func run(ctx context.Context, s *identity.Source) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func newSource(t *testing.T, ca *identitytest.CA, network *pipeNet, log *strings.Builder) *identity.Source {
	t.Helper()
	o := identity.Options{Control: "unix:///nowhere", Token: tokenFor(ca)}
	if log != nil {
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	s, err := identity.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetDial(network.dial)
	return s
}

func TestJoinAndRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.NewCA(t, "mesh.test")
		cp, network := start(t, ca, 24*time.Hour)
		var log strings.Builder
		s := newSource(t, ca, network, &log)
		if s.Current() != nil {
			t.Error("an identity before Run")
		}
		if _, err := s.ServerConfig().GetCertificate(nil); identity.Classify(err) != string(identity.NotReady) {
			t.Errorf("certificate before Ready: %v", err)
		}
		stop := run(t.Context(), s)
		began := time.Now()
		<-s.Ready()
		first := s.Current()
		if first.Identity != ca.ID("shop", "web") || first.NotAfter.Sub(began).Round(time.Minute) != 24*time.Hour {
			t.Errorf("first SVID: %s until %s", first.Identity, first.NotAfter)
		}
		time.Sleep(24 * time.Hour * 40 / 100)
		synctest.Wait()
		if s.Current() != first {
			t.Error("renewed before half life less 10%")
		}
		time.Sleep(24 * time.Hour * 16 / 100)
		synctest.Wait()
		second := s.Current()
		if second == first {
			t.Fatal("not renewed at half life plus 10%")
		}
		time.Sleep(10 * 24 * time.Hour)
		synctest.Wait()
		if now := time.Now(); !now.Before(s.Current().NotAfter) {
			t.Error("the SVID has expired though the control plane is there")
		}
		calls := cp.calls()
		if n := len(calls); n < 18 || n > 24 {
			t.Errorf("%d signings in 10.5 days with half lives of 12 hours", n)
		}
		for i, c := range calls {
			if i == 0 && (c.token == "" || !c.peer.IsZero()) || i > 0 && (c.token != "" || c.peer != ca.ID("shop", "web")) {
				t.Errorf("signing %d: token given %t, peer %s", i, c.token != "", c.peer)
			}
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if strings.Contains(log.String(), secret32) {
			t.Errorf("the log shows the secret: %s", log.String())
		}
		cp.server.Close()
	})
}

func TestControlPlaneAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.NewCA(t, "mesh.test")
		cp, network := start(t, ca, time.Hour)
		network.setDown(true)
		var log strings.Builder
		s := newSource(t, ca, network, &log)
		stop := run(t.Context(), s)
		time.Sleep(10 * time.Minute)
		if s.Current() != nil {
			t.Error("an identity from nowhere")
		}
		if network.dials < 30 || network.dials > 70 {
			t.Errorf("%d attempts in 10 minutes with a back-off of at most 15 s", network.dials)
		}
		network.setDown(false)
		<-s.Ready()
		held := s.Current()
		network.setDown(true)
		// The idle connection goes with the control plane.
		s.HTTPClient().CloseIdleConnections()
		time.Sleep(50 * time.Minute)
		if s.Current() != held {
			t.Error("the SVID went with the control plane")
		}
		// Past its end the SVID proves nothing, and the token is asked again: this one has uses left.
		time.Sleep(time.Hour)
		network.setDown(false)
		time.Sleep(time.Minute)
		if cur := s.Current(); cur == held || !time.Now().Before(cur.NotAfter) {
			t.Errorf("no new SVID after the outage: until %s", cur.NotAfter)
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n < 2 || n > 1000 {
			t.Errorf("%d warnings", n)
		}
		cp.server.Close()
	})
}

func TestRefusedForGood(t *testing.T) {
	for name, refusal := range map[string]error{
		"spent":   connect.NewError(connect.CodePermissionDenied, errors.New("join token expired or used up")),
		"unknown": connect.NewError(connect.CodeUnauthenticated, errors.New("join token unknown")),
		"foreign": connect.NewError(connect.CodeInvalidArgument, errors.New("join token of another mesh")),
	} {
		synctest.Test(t, func(t *testing.T) {
			ca := identitytest.NewCA(t, "mesh.test")
			cp, network := start(t, ca, time.Hour)
			cp.setRefuse(refusal)
			s := newSource(t, ca, network, nil)
			began := time.Now()
			err := s.Run(t.Context())
			if re, ok := errors.AsType[*identity.RefusedError](err); !ok || re.ExitCode() != 65 || !strings.Contains(err.Error(), "join token") {
				t.Errorf("%s: Run returns %v", name, err)
			}
			if d := time.Since(began); d > 0 {
				t.Errorf("%s: took %s", name, d)
			}
			cp.server.Close()
		})
	}
}

func TestTransientRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.NewCA(t, "mesh.test")
		cp, network := start(t, ca, time.Hour)
		cp.setRefuse(connect.NewError(connect.CodeUnavailable, errors.New("store away")))
		s := newSource(t, ca, network, nil)
		stop := run(t.Context(), s)
		time.Sleep(time.Minute)
		cp.setRefuse(nil)
		<-s.Ready()
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		cp.server.Close()
	})
}

// TestForeignControlPlane: whoever answers without the root the token names learns nothing from us.
func TestForeignControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, twin := identitytest.NewCA(t, "mesh.test"), identitytest.NewCA(t, "mesh.test")
		cp, network := start(t, twin, time.Hour)
		s := newSource(t, ours, network, nil)
		err := s.Run(t.Context())
		if _, ok := errors.AsType[*identity.RefusedError](err); !ok || !strings.Contains(err.Error(), string(identity.PinMismatch)) {
			t.Errorf("Run returns %v", err)
		}
		if n := len(cp.calls()); n != 0 {
			t.Errorf("the foreign control plane got %d requests", n)
		}
		cp.server.Close()
	})
	// A workload of our own mesh is no control plane either.
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.NewCA(t, "mesh.test")
		cp := &controlPlane{t: t, ca: ca, id: ca.ID("shop", "web"), ttl: time.Hour}
		network := newPipeNet()
		cp.serve(network, ca.Certificate(t, ca.ID("shop", "thief"), time.Now(), time.Hour))
		s := newSource(t, ca, network, nil)
		err := s.Run(t.Context())
		if pe, ok := errors.AsType[*identity.PeerError](err); !ok || pe.Kind != identity.Mismatch {
			t.Errorf("Run returns %v", err)
		}
		if n := len(cp.calls()); n != 0 {
			t.Errorf("the workload got %d requests", n)
		}
		cp.server.Close()
	})
}

// TestRotationKeepsConnections rotates under a connection that lives, over real sockets.
func TestRotationKeepsConnections(t *testing.T) {
	ca := identitytest.NewCA(t, "mesh.test")
	cp := &controlPlane{t: t, ca: ca, id: ca.ID("shop", "web"), ttl: time.Second}
	sock := filepath.Join(t.TempDir(), "c.sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	cp.serve(l, ca.Certificate(t, identity.ControlIdentity(ca.TrustDomain), time.Now(), time.Hour))
	defer cp.server.Close()
	var s *identity.Source
	// A certificate of one second starts a minute before now, so it counts as past its half life at once
	// and is renewed every 100 ms.
	if s, err = identity.New(identity.Options{Control: "unix://" + sock, Token: tokenFor(ca)}); err != nil {
		t.Fatal(err)
	}
	stop := run(t.Context(), s)
	<-s.Ready()
	if s.BaseURL() == "" || s.HTTPClient() == nil {
		t.Error("no way to the control plane")
	}

	server := ca.Source(t, ca.ID("shop", "db"))
	before := s.Current()
	client, remote := bufPipe()
	defer client.Close()
	defer remote.Close()
	live, peer := tlsPair(client, remote, s.ClientConfig(ca.ID("shop", "db")), server.ServerConfig())
	echo := make(chan error, 1)
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := peer.Read(b); err != nil {
				echo <- err
				return
			}
			if _, err := peer.Write(b); err != nil {
				echo <- err
				return
			}
		}
	}()
	deadline := time.Now().Add(60 * time.Second)
	seen := map[*identity.SVID]bool{before: true}
	for len(seen) < 4 {
		if time.Now().After(deadline) {
			t.Fatalf("%d rotations within 20 s", len(seen)-1)
		}
		if _, err := live.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := live.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		seen[s.Current()] = true
	}
	r := shake(t, s.ClientConfig(model.Identity{}), server.ServerConfig())
	if r.clientErr != nil || r.serverErr != nil {
		t.Errorf("new connection after rotation: %v, %v", r.clientErr, r.serverErr)
	}
	live.Close()
	<-echo
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestHTTPClientRefusesOthers: the client for the control plane sends nothing to anyone else.
func TestHTTPClientRefusesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := identitytest.NewCA(t, "mesh.test")
		cp, network := start(t, ca, time.Hour)
		s := newSource(t, ca, network, nil)
		stop := run(t.Context(), s)
		<-s.Ready()
		s.HTTPClient().CloseIdleConnections()
		thief := &controlPlane{t: t, ca: ca, id: ca.ID("shop", "web"), ttl: time.Hour}
		other := newPipeNet()
		thief.serve(other, ca.Certificate(t, ca.ID("shop", "thief"), time.Now(), time.Hour))
		s.SetDial(other.dial)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.BaseURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.HTTPClient().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		if pe, ok := errors.AsType[*identity.PeerError](err); !ok || pe.Kind != identity.Mismatch {
			t.Errorf("request to a workload: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		cp.server.Close()
		thief.server.Close()
	})
}

func TestNewErrors(t *testing.T) {
	ca := identitytest.NewCA(t, "mesh.test")
	for _, addr := range []string{"", "unix://relative", "host", "host:", "unix:/x"} {
		if _, err := identity.New(identity.Options{Control: addr, Token: tokenFor(ca)}); err == nil {
			t.Errorf("control plane address %q accepted", addr)
		}
	}
	if _, err := identity.New(identity.Options{Control: "host:1", Token: "geheim"}); !errors.Is(err, identity.ErrTokenMalformed) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("bad token: %v", err)
	}
	s, err := identity.New(identity.Options{Control: "host:1", Token: tokenFor(ca)})
	if err != nil || s.BaseURL() != "https://host:1" {
		t.Errorf("BaseURL %q, %v", s.BaseURL(), err)
	}
}
