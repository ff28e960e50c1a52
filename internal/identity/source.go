package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Options says where a Source gets its identity.
type Options struct {
	Control string           // control plane: "unix:///path" or "host:port"
	Token   string           // join token, as ParseToken reads it
	Logger  *slog.Logger     // default: discard
	Now     func() time.Time // default: time.Now
}

// SVID is an identity with the means to prove it. It is immutable.
type SVID struct {
	Identity    model.Identity
	Certificate tls.Certificate // Leaf is set
	Roots       *x509.CertPool  // of the identity's trust domain
	NotAfter    time.Time
}

// Source holds a workload's current SVID and keeps it fresh while Run runs.
type Source struct {
	log      *slog.Logger
	now      func() time.Time
	token    Token
	control  control
	static   bool
	current  atomic.Pointer[SVID]
	sessions sessionCache
	ready    chan struct{}
	once     sync.Once
}

// New checks the options and does nothing else: Run obtains the identity.
func New(o Options) (*Source, error) {
	token, err := ParseToken(o.Token)
	if err != nil {
		return nil, &RefusedError{Reason: err.Error(), Err: err}
	}
	s := newSource(o)
	s.token = token
	dial, base, err := parseControl(o.Control)
	if err != nil {
		return nil, err
	}
	s.control = control{base: base, dial: dial}
	s.control.client = s.controlClient(s.ClientConfig(ControlIdentity(token.TrustDomain)))
	return s, nil
}

func newSource(o Options) *Source {
	s := &Source{log: o.Logger, now: o.Now, ready: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.sessions.reset()
	return s
}

// Ready is closed once there is an SVID.
func (s *Source) Ready() <-chan struct{} { return s.ready }

// Current returns the SVID in use, nil before Ready.
func (s *Source) Current() *SVID { return s.current.Load() }

// HTTPClient returns the one client to the control plane: HTTP/2 over TLS that presents the current SVID and
// accepts no server but the control plane of our trust domain. It has no timeout of its own, for streams;
// calls bring a context. It works after Ready; nil for a static source.
func (s *Source) HTTPClient() *http.Client { return s.control.client }

// BaseURL is the control plane's URL for HTTPClient; "" for a static source.
func (s *Source) BaseURL() string { return s.control.base }

// Run obtains the first SVID and renews it at half its life until ctx ends, then returns nil. While the
// control plane cannot be reached it keeps what it has and tries again with back-off. It returns a
// *RefusedError at once if the control plane refuses the token for good, or is not the one the token is for.
func (s *Source) Run(ctx context.Context) error {
	if s.static {
		<-ctx.Done()
		return nil
	}
	defer s.control.client.CloseIdleConnections()
	wait, failures := time.Duration(0), 0
	for sleep(ctx, wait) {
		err := s.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			wait = s.renewIn()
			continue
		}
		if _, permanent := errors.AsType[*RefusedError](err); permanent && s.Current() == nil {
			return err
		}
		wait = backoff(failures)
		if failures++; failures == 1 || wait >= maxBackoff {
			s.log.WarnContext(ctx, "identity not obtained, trying again", "error", err, "held", s.held(), "retry_in", wait)
		}
	}
	return nil
}

// step makes one attempt: by the SVID in hand while that is valid, by the token otherwise.
func (s *Source) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	cur := s.Current()
	var next *SVID
	var err error
	if cur != nil && s.now().Before(cur.NotAfter) {
		next, err = s.renew(ctx, cur)
	} else {
		next, err = s.join(ctx)
	}
	if err != nil {
		return err
	}
	if cur != nil && next.Identity != cur.Identity {
		return fmt.Errorf("control plane issued %s to %s", next.Identity, cur.Identity)
	}
	s.install(next)
	s.log.InfoContext(ctx, "identity issued", "identity", next.Identity.String(), "serial", next.Certificate.Leaf.SerialNumber.Text(16), "not_after", next.NotAfter)
	return nil
}

func (s *Source) install(next *SVID) {
	s.current.Store(next)
	s.sessions.reset()
	s.once.Do(func() { close(s.ready) })
}

func (s *Source) held() string {
	cur := s.Current()
	if cur == nil {
		return "none"
	}
	return cur.Identity.String() + " until " + cur.NotAfter.UTC().Format(time.RFC3339)
}
