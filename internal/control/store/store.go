package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// Options says where the store is.
type Options struct {
	DataDir string // directory of the embedded server; unused with URL

	// URL is "" for the embedded server, or "etcd://host:port[,host:port]...[/prefix]" for a cluster. With
	// "etcds://", or when a certificate file is given, connections are TLS.
	URL string

	CertFile, KeyFile string // client certificate, PEM
	CAFile            string // roots for the servers, PEM; default: the system's
	Username          string
	PasswordFile      string

	Logger *slog.Logger // default: discard
}

const defaultPrefix = "/weft/"

// Store is an open store.
type Store struct {
	client *clientv3.Client
	prefix string
	places []string // endpoints, for messages

	etcd   *embed.Etcd // nil with an external cluster
	lock   *dirLock
	sock   string // directory to remove on Close, "" if none
	failed chan struct{}
	once   sync.Once
	fault  error

	closeOnce sync.Once
	closeErr  error
}

// Open returns a store that serves. ctx bounds the opening only. Every error is an *Error.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.URL != "" {
		return openCluster(ctx, o)
	}
	return openEmbedded(ctx, o)
}

// Client returns the client. It lives until Close, which is the only one to close it.
func (s *Store) Client() *clientv3.Client { return s.client }

// Prefix is what all of Weft's keys begin with: "/weft/" unless the URL says otherwise.
func (s *Store) Prefix() string { return s.prefix }

// Failed is closed when the embedded server has failed for good (a full or broken disk): the process should
// end and be started anew. Err then says why.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err returns why the embedded server failed; nil before Failed is closed.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.fault
	default:
		return nil
	}
}

func (s *Store) fail(err error) {
	s.once.Do(func() {
		s.fault = err
		close(s.failed)
	})
}

// Healthy makes a linearizable read, which a store without quorum cannot answer. ctx bounds it.
func (s *Store) Healthy(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	if _, err := s.client.Get(ctx, s.prefix+"health", clientv3.WithCountOnly()); err != nil {
		return clusterError(s.places, 0, err)
	}
	return nil
}

// Close ends the client and the embedded server, and waits for both. It may be called more than once.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		var errs []error
		if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("close the store's client: %w", err))
		}
		if s.etcd != nil {
			s.stopEmbedded()
		}
		if err := s.lock.release(); err != nil {
			errs = append(errs, err)
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// Times of a connection to the store.
const (
	dialTimeout      = 5 * time.Second
	reachTimeout     = 15 * time.Second // how long Open tries a cluster
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
	startTimeout     = 60 * time.Second // of the embedded server, replaying its log
)
