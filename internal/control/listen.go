package control

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

// listeners are the sockets of a server; those not asked for are nil.
type listeners struct {
	api, apiTLS     net.Listener
	proxy, proxyTCP net.Listener
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.api, l.apiTLS, l.proxy, l.proxyTCP} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

// listen binds everything, so that an address in use is known before anything is touched.
func (s *Server) listen(ctx context.Context) (l *listeners, err error) {
	if err := os.MkdirAll(s.o.DataDir, 0o700); err != nil {
		return nil, accessError(s.o.DataDir, err)
	}
	l = &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.api, err = listenUnix(ctx, s.o.APISocket, "--socket"); err != nil {
		return l, err
	}
	if l.proxy, err = listenUnix(ctx, s.o.ProxySocket, "--proxy-socket"); err != nil {
		return l, err
	}
	tcp := func(addr, flag string) (net.Listener, error) {
		if addr == "" {
			return nil, nil
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w; choose another with %s", addr, err, flag)
		}
		return ln, nil
	}
	if l.apiTLS, err = tcp(s.o.APIListen, "--listen"); err != nil {
		return l, err
	}
	if l.proxyTCP, err = tcp(s.o.ProxyListen, "--proxy-listen"); err != nil {
		return l, err
	}
	abs, err := filepath.Abs(s.o.ProxySocket)
	if err != nil {
		return l, err
	}
	s.proxyAt = "unix://" + abs
	if l.proxyTCP != nil && s.o.Advertise == "" {
		s.o.Advertise = l.proxyTCP.Addr().String()
	}
	return l, nil
}

// listenUnix binds a socket file of mode 0600. One that a dead process left is taken over.
func listenUnix(ctx context.Context, path, flag string) (net.Listener, error) {
	const maxPath = 107 // sun_path of sockaddr_un
	if len(path) > maxPath {
		return nil, fmt.Errorf("socket path %s has %d bytes; the system allows %d: choose another with %s", path, len(path), maxPath, flag)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, accessError(filepath.Dir(path), err)
	}
	d := net.Dialer{Timeout: time.Second}
	if c, err := d.DialContext(ctx, "unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: %w: another control plane answers there; stop it, or choose another with %s", path, syscall.EADDRINUSE, flag)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("listen on %s: %w: a file is there that is no socket", path, syscall.EADDRINUSE)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// accessError is a directory that cannot be used.
func accessError(path string, err error) error {
	return &pathError{path, err}
}

// pathError carries EX_IOERR's neighbour for directories users name wrongly.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string {
	return fmt.Sprintf("directory %s: %v; choose another, or make it writable", e.path, e.err)
}
func (e *pathError) Unwrap() error { return e.err }
func (e *pathError) ExitCode() int { return 64 }

// serve runs an HTTP server on each listener until ctx ends.
func (s *Server) serve(ctx context.Context, g *errgroup.Group, l *listeners) {
	api := s.apiRoutes()
	s.serveOn(ctx, g, l.api, api, nil)
	if l.apiTLS != nil {
		g.Go(func() error {
			handler, conf, err := s.remoteAPI(api)
			if err != nil {
				return err
			}
			s.serveOn(ctx, g, l.apiTLS, handler, conf)
			return nil
		})
	}
	proxies, conf := s.proxyRoutes(), s.ca.ServerConfig()
	s.serveOn(ctx, g, l.proxy, proxies, conf)
	if l.proxyTCP != nil {
		s.serveOn(ctx, g, l.proxyTCP, proxies, conf)
	}
}

func (s *Server) serveOn(ctx context.Context, g *errgroup.Group, ln net.Listener, h http.Handler, conf *tls.Config) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
		ErrorLog:    errorLog(s.o.Logger),
		Protocols:   new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	g.Go(func() error {
		defer context.AfterFunc(ctx, func() {
			s.xds.Close()
			_ = srv.Close()
		})()
		var err error
		if conf == nil {
			err = srv.Serve(ln)
		} else {
			srv.TLSConfig = conf
			err = srv.ServeTLS(ln, "", "")
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
}

// maxMessage bounds what one call may send.
const maxMessage = 16 << 20

// apiRoutes serve the command line and others who may do everything.
func (s *Server) apiRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewAdminServiceHandler(&admin{s}, connect.WithReadMaxBytes(maxMessage)))
	mux.Handle("GET /metrics", s.stats.handler())
	return mux
}

// proxyRoutes serve proxies, and other control planes.
func (s *Server) proxyRoutes() http.Handler {
	mux := http.NewServeMux()
	opts := connect.WithReadMaxBytes(maxMessage)
	d := &discovery{s}
	mux.Handle(discoveryv1connect.NewIdentityServiceHandler(d, opts))
	mux.Handle(discoveryv1connect.NewDiscoveryServiceHandler(d, opts))
	path, peers := adminv1connect.NewAdminServiceHandler(&admin{s}, opts)
	mux.Handle(path, onlyPeers(s.ca.ControlIdentity(), peers))
	return withIdentity(mux)
}

type identityKey struct{}

// withIdentity notes who is at the other end of the TLS connection, if it has shown an SVID.
func withIdentity(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			if id, err := identity.PeerIdentity(r.TLS); err == nil {
				r = r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
			}
		}
		h.ServeHTTP(w, r)
	})
}

var errNoIdentity = errors.New("this call needs a client certificate of the mesh")

// identify returns the caller's proven identity.
func identify(ctx context.Context) (model.Identity, error) {
	id, ok := ctx.Value(identityKey{}).(model.Identity)
	if !ok {
		return id, errNoIdentity
	}
	return id, nil
}

// onlyPeers lets other control planes in, and nobody else.
func onlyPeers(control model.Identity, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, err := identify(r.Context()); err != nil || id != control {
			http.Error(w, "only control planes may call this here", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, true)))
	})
}

// remoteAPI is the API over TCP: TLS, and a bearer token.
func (s *Server) remoteAPI(h http.Handler) (http.Handler, *tls.Config, error) {
	token, err := loadToken(s.o.TokenFile)
	if err != nil {
		return nil, nil, err
	}
	certFile, keyFile := s.o.APICert, s.o.APIKey
	if certFile == "" {
		certFile, keyFile, err = s.ownCertificate()
		if err != nil {
			return nil, nil, err
		}
		s.o.Logger.Info("the API has a certificate of its own: clients give it as --ca", "file", certFile)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--api-cert: %w", err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the API needs its bearer token: --token-file", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
	return guarded, conf, nil
}

// loadToken reads the API's bearer token, or makes one.
func loadToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		if token := strings.TrimSpace(string(b)); len(token) >= 16 {
			return token, nil
		}
		return "", fmt.Errorf("token file %s: a token has at least 16 characters", file)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("token file: %w", err)
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	token := hex.EncodeToString(secret)
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	return token, nil
}
