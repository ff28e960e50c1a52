package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// admin is the proxy's own endpoint, for whoever started it and for scrapers:
//
//	GET  /ready    200 once the proxy serves
//	GET  /metrics  Prometheus exposition
//	GET  /config   the snapshot in use, as YAML
//	GET  /stats    connections, exchanges, refusals
//	GET  /addresses  what it listens on
//	POST /leave    deregister, and return when other proxies had time to hear of it
//	POST /drain    stop accepting and return when nothing is in flight
type admin struct {
	a        *Agent
	listener net.Listener
	server   *http.Server
	address  string
}

// newAdmin binds the endpoint. A socket file left by a proxy that is gone is replaced.
func (a *Agent) newAdmin(life context.Context) (*admin, error) {
	network, address := "tcp", a.o.Admin
	if path, ok := strings.CutPrefix(a.o.Admin, "unix://"); ok {
		network, address = "unix", path
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("admin endpoint: %s is in use by another process", path)
		}
		_ = os.Remove(path)
	}
	ln, err := (&net.ListenConfig{}).Listen(life, network, address)
	if err != nil {
		return nil, fmt.Errorf("admin endpoint: %w", err)
	}
	if network == "unix" {
		if err := os.Chmod(address, 0o600); err != nil {
			_ = ln.Close()
			return nil, fmt.Errorf("admin endpoint: %w", err)
		}
	}
	ad := &admin{a: a, listener: ln, address: a.o.Admin}
	if network == "tcp" {
		ad.address = ln.Addr().String()
	}
	ad.server = &http.Server{
		Handler: ad.routes(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return life },
	}
	return ad, nil
}

func (ad *admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })
	mux.Handle("GET /metrics", ad.a.reports.exposition())
	mux.HandleFunc("GET /config", ad.config)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, ad.a.engine.Stats()) })
	mux.HandleFunc("GET /addresses", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, ad.a.addresses()) })
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, r *http.Request) {
		if ad.a.registry != nil {
			ad.a.registry.leave(r.Context())
		}
		fmt.Fprintln(w, "left")
	})
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		if err := ad.a.engine.Drain(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		fmt.Fprintln(w, "drained")
	})
	return mux
}

func (ad *admin) config(w http.ResponseWriter, _ *http.Request) {
	s := ad.a.snapshot.Load()
	if s == nil {
		http.Error(w, "no configuration yet", http.StatusServiceUnavailable)
		return
	}
	b, err := WriteSnapshot(s.Redacted())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(b)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The client may be gone: there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}

// run serves until ctx ends.
func (ad *admin) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = ad.server.Close() })()
	if err := ad.server.Serve(ad.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin endpoint: %w", err)
	}
	return nil
}
