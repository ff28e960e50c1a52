package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

func secretOf(t *testing.T, token string) string {
	t.Helper()
	tok, err := identity.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	return string(tok.Secret)
}

func TestToken(t *testing.T) {
	s := openStore(t)
	var log strings.Builder
	clk := &clock{now: time.Now()}
	c := mustOpen(t, Options{Store: s, DataDir: t.TempDir(), Now: clk.Now, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx := testContext(t)
	tok, err := c.CreateToken(ctx, id("shop", "web"), time.Minute, 2)
	if err != nil {
		t.Fatal(err)
	}
	secret := secretOf(t, tok)
	for i := range 2 {
		if got, err := c.RedeemToken(ctx, tok); err != nil || got != id("shop", "web") {
			t.Errorf("use %d: %s, %v", i, got, err)
		}
		// The key keeps its lease through the first use.
		if i == 0 {
			resp, err := s.Client().Get(ctx, c.prefix+"tokens/", clientv3.WithPrefix())
			if err != nil || len(resp.Kvs) != 1 || resp.Kvs[0].Lease == 0 {
				t.Errorf("after one of two uses: %v, %v", resp, err)
			}
		}
	}
	var all []error
	refused := func(tok string, want error) {
		t.Helper()
		_, err := c.RedeemToken(ctx, tok)
		if !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		all = append(all, err)
	}
	refused(tok, ErrTokenSpent)
	parsed, err := identity.ParseToken(tok)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*identity.Token)) string {
		x := parsed
		change(&x)
		return x.Text()
	}
	wrong := identity.Secret(strings.Repeat("A", 43))
	refused(with(func(x *identity.Token) { x.ID = "0000" }), ErrTokenUnknown)
	refused(with(func(x *identity.Token) { x.Secret = wrong }), ErrTokenUnknown)
	refused(with(func(x *identity.Token) { x.TrustDomain = "other.test" }), ErrTokenForeign)
	refused(with(func(x *identity.Token) { x.Pin = make([]byte, 32) }), ErrTokenForeign)
	refused("geheim", identity.ErrTokenMalformed)
	refused(tok+"!", identity.ErrTokenMalformed)

	// Expired by the clock, before the lease is over.
	tok2, err := c.CreateToken(ctx, id("shop", "web"), time.Minute, 1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := identity.ParseToken(tok2)
	if err != nil {
		t.Fatal(err)
	}
	x.Secret = wrong
	refused(x.Text(), ErrTokenUnknown) // and a wrong guess takes no use
	clk.add(time.Minute)
	refused(tok2, ErrTokenSpent)

	// Neither store, log nor errors know a secret.
	resp, err := s.Client().Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, sec := range []string{secret, secretOf(t, tok2), "geheim"} {
		for _, kv := range resp.Kvs {
			if strings.Contains(string(kv.Key)+string(kv.Value), sec) {
				t.Errorf("the store holds a secret under %s", kv.Key)
			}
		}
		if strings.Contains(log.String(), sec) || strings.Contains(fmt.Sprint(all), sec) {
			t.Errorf("a secret shows in log or errors")
		}
	}
	if !strings.Contains(log.String(), parsed.ID) {
		t.Error("the log does not name the token")
	}
}

// TestTokenLease: the store itself forgets a token, and still tells it from one that never was.
func TestTokenLease(t *testing.T) {
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir(), Now: func() time.Time { return time.Unix(1, 0).Add(time.Hour) }})
	ctx := testContext(t)
	// The CA's clock stands still, so only the lease can end the token. (Certificates do not matter here.)
	tok, err := c.CreateToken(ctx, id("a", "b"), time.Second, 100)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := identity.ParseToken(tok)
	if err != nil {
		t.Fatal(err)
	}
	watch := c.client.Watch(ctx, c.tokenKey(parsed.ID), clientv3.WithFilterPut())
	select {
	case r := <-watch:
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	case <-ctx.Done():
		t.Fatal("the lease does not end")
	}
	if _, err := c.RedeemToken(ctx, tok); !errors.Is(err, ErrTokenSpent) {
		t.Errorf("after the lease: %v", err)
	}
}

func TestTokenRace(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	cas := []*CA{mustOpen(t, Options{Store: s, DataDir: dir}), mustOpen(t, Options{Store: s, DataDir: dir})}
	ctx := testContext(t)
	for _, uses := range []int{1, 5} {
		tok, err := cas[0].CreateToken(ctx, id("shop", "web"), time.Minute, uses)
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				switch _, err := cas[i%2].RedeemToken(ctx, tok); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrTokenSpent):
					t.Errorf("loser's error: %v", err)
				}
			})
		}
		wg.Wait()
		if int(won.Load()) != uses {
			t.Errorf("%d of 24 won a token of %d uses", won.Load(), uses)
		}
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	foreign := id("a", "b")
	foreign.TrustDomain = "other.test"
	for name, tc := range map[string]struct {
		id   model.Identity
		ttl  time.Duration
		uses int
	}{
		"foreign": {foreign, 0, 0}, "control plane": {c.ControlIdentity(), 0, 0}, "no account": {id("a", ""), 0, 0},
		"ttl": {id("a", "b"), MaxTokenTTL + 1, 0}, "short": {id("a", "b"), time.Millisecond, 0}, "uses": {id("a", "b"), 0, MaxTokenUses + 1}, "negative": {id("a", "b"), 0, -1},
	} {
		if _, err := c.CreateToken(testContext(t), tc.id, tc.ttl, tc.uses); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// signer is the control plane's identity service in short.
type signer struct {
	ca *CA
	discoveryv1connect.UnimplementedIdentityServiceHandler
}

type peerKey struct{}

func (s signer) SignCertificate(ctx context.Context, req *connect.Request[discoveryv1.SignCertificateRequest]) (*connect.Response[discoveryv1.SignCertificateResponse], error) {
	who, ok := ctx.Value(peerKey{}).(model.Identity)
	if !ok {
		var err error
		if who, err = s.ca.RedeemToken(ctx, req.Msg.GetJoinToken()); err != nil {
			return nil, connect.NewError(connect.CodePermissionDenied, err)
		}
	}
	chain, _, err := s.ca.Sign(ctx, req.Msg.GetCsr(), who, 0)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return connect.NewResponse(&discoveryv1.SignCertificateResponse{Chain: chain, Bundle: s.ca.Bundle()}), nil
}

// TestSourceJoins is the whole way: token, pinned handshake, certificate, and a second proxy too late.
func TestSourceJoins(t *testing.T) {
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	mux := http.NewServeMux()
	path, h := discoveryv1connect.NewIdentityServiceHandler(signer{ca: c})
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if who, err := identity.PeerIdentity(r.TLS); err == nil {
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, who))
		}
		h.ServeHTTP(w, r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux, TLSConfig: c.ServerConfig()}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	defer func() {
		srv.Close()
		<-served
	}()
	tok, err := c.CreateToken(testContext(t), id("shop", "web"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.New(identity.Options{Control: l.Addr().String(), Token: tok})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	if got := s.Current().Identity; got != id("shop", "web") {
		t.Errorf("joined as %s", got)
	}
	// Renewal, as a client with the SVID and no token.
	api := discoveryv1connect.NewIdentityServiceClient(s.HTTPClient(), s.BaseURL())
	req, _ := csr(t, &x509.CertificateRequest{})
	if _, err := api.SignCertificate(ctx, connect.NewRequest(&discoveryv1.SignCertificateRequest{Csr: req})); err != nil {
		t.Errorf("with the SVID: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	late, err := identity.New(identity.Options{Control: l.Addr().String(), Token: tok})
	if err != nil {
		t.Fatal(err)
	}
	err = late.Run(testContext(t))
	if _, ok := errors.AsType[*identity.RefusedError](err); !ok || !strings.Contains(err.Error(), "expired or used up") {
		t.Errorf("second use: %v", err)
	}
}
