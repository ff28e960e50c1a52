package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Bounds of the embedded server.
const (
	quotaBytes        = 1 << 30
	maxRequestBytes   = 4 << 20
	maxTxnOps         = 1024
	compactEvery      = "1h"
	defragOverMB      = 64
	maxUnixSocketPath = 100 // sun_path holds 108 bytes (unix(7)); the rest is for the file's name
)

func openEmbedded(ctx context.Context, o Options) (_ *Store, err error) {
	if err := prepareDir(o.DataDir); err != nil {
		return nil, err
	}
	s := &Store{prefix: defaultPrefix, failed: make(chan struct{})}
	if s.lock, err = lockDir(o.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.removeSocketDir()
			err = errors.Join(err, s.lock.release())
		}
	}()
	dir := filepath.Join(o.DataDir, "etcd")
	if err := checkFiles(ctx, dir); err != nil {
		return nil, err
	}
	cfg, err := s.config(dir, newZap(o.Logger, s.onFatal(dir)))
	if err != nil {
		return nil, err
	}
	s.places = []string{cfg.ListenClientUrls[0].String()}
	if s.etcd, err = start(ctx, cfg, s); err != nil {
		return nil, err
	}
	s.client, err = clientv3.New(clientv3.Config{Endpoints: s.places, DialTimeout: dialTimeout, Logger: zap.NewNop()})
	if err != nil {
		s.stopEmbedded()
		return nil, &Error{Kind: ErrUnreachable, Place: dir, Reason: "cannot make a client: " + err.Error(), Code: exitUnavailable, Err: err}
	}
	if err := s.Healthy(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// onFatal is told why the server wants to end the process.
func (s *Store) onFatal(dir string) func(string) {
	return func(reason string) {
		s.fail(&Error{
			Kind: ErrFailed, Place: dir, Reason: "the embedded server failed: " + reason, Code: exitIO,
			Remedy: "check the disk's space and health, then start again; restore from backup if it persists",
		})
	}
}

func (s *Store) config(dir string, lg *zap.Logger) (*embed.Config, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, accessError(dir, err)
	}
	sockDir, err := filepath.Abs(dir)
	if err != nil {
		return nil, accessError(dir, err)
	}
	if len(sockDir) > maxUnixSocketPath {
		if sockDir, err = os.MkdirTemp("", "weft-store-"); err != nil {
			return nil, accessError(dir, fmt.Errorf("make a directory for the socket: %w", err))
		}
		s.sock = sockDir
	}
	local := url.URL{Scheme: "unix", Path: filepath.Join(sockDir, "sock")}

	cfg := embed.NewConfig()
	cfg.Name = "weft"
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{local}
	cfg.AdvertiseClientUrls = []url.URL{local}
	// One node has no peers: it listens for none. The advertised URL only names it in its own member list,
	// where etcd wants one that looks like TCP.
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:0"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = compactEvery
	cfg.QuotaBackendBytes = quotaBytes
	cfg.MaxRequestBytes = maxRequestBytes
	cfg.MaxTxnOps = maxTxnOps
	cfg.BootstrapDefragThresholdMegabytes = defragOverMB
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(lg)
	return cfg, nil
}

// start runs the server until it is ready. It starts in a goroutine of its own because on damage it ends the
// goroutine it is called in.
func start(ctx context.Context, cfg *embed.Config, s *Store) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	done := make(chan result, 1)
	go func() {
		res := result{err: errors.New("it stopped without a reason")}
		defer func() {
			if p := recover(); p != nil {
				res = result{err: fmt.Errorf("%v", p)}
			}
			done <- res
		}()
		e, err := embed.StartEtcd(cfg)
		res = result{e, err}
	}()
	res := <-done // it always comes: every way out of the goroutine sends it
	if res.err != nil {
		if fault := s.Err(); fault != nil {
			return nil, fault
		}
		return nil, &Error{
			Kind: ErrFailed, Place: cfg.Dir, Reason: "the embedded server does not start: " + res.err.Error(), Code: exitIO, Err: res.err,
			Remedy: "check the disk, or restore the directory from a backup",
		}
	}
	s.etcd = res.etcd
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	var err error
	select {
	case <-res.etcd.Server.ReadyNotify():
		return res.etcd, nil
	case <-s.failed:
		err = s.Err()
	case <-ctx.Done():
		err = &Error{Kind: ErrUnreachable, Place: cfg.Dir, Reason: "interrupted while starting", Code: exitUnavailable, Err: ctx.Err()}
	case <-timeout.C:
		err = &Error{Kind: ErrUnreachable, Place: cfg.Dir, Reason: "the embedded server is not ready after " + startTimeout.String(), Code: exitUnavailable}
	}
	s.stopEmbedded()
	return nil, err
}

// stopEmbedded ends the server and waits. One that failed cannot be waited for: parts of it are gone.
func (s *Store) stopEmbedded() {
	if s.Err() == nil {
		s.etcd.Close()
	}
	s.removeSocketDir()
}

func (s *Store) removeSocketDir() {
	if s.sock != "" {
		// Best effort: an empty directory in the temporary one harms nobody.
		_ = os.RemoveAll(s.sock)
	}
}
