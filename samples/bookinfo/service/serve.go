package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of a server. The idle time is longer than that of our clients (idleConn), so that it is the client
// who closes a connection and no request meets one that is being closed.
const (
	headTimeout  = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	drainTimeout = 10 * time.Second
	maxHeadBytes = 64 << 10
)

// Serve answers on listen (HOST:PORT; port 0 takes a free one) until ctx ends, then lets requests under way
// finish for up to 10 s. It returns nil after an orderly end.
func Serve(ctx context.Context, listen string, h http.Handler, log *slog.Logger) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another with --listen", listen, err)
	}
	return ServeListener(ctx, ln, h, log)
}

// ServeListener is Serve on a listener that is already there. It closes ln.
func ServeListener(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.Info("listening", "address", ln.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := srv.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		_ = srv.Close()
		err = fmt.Errorf("requests were still under way after %v", drainTimeout)
	}
	if served := <-failed; err == nil && !errors.Is(served, http.ErrServerClosed) {
		err = served
	}
	return err
}
