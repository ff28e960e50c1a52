package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/model"
)

// LetsEncrypt is the directory of the CA that is asked by default.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

const (
	maxHosts    = 1000
	maxRootFile = 1 << 20
	httpTimeout = 30 * time.Second // of one request to the CA
)

// Options configure a Manager.
type Options struct {
	Email     string // of the account, for the CA's notices; required
	Directory string // URL of the CA's directory; default LetsEncrypt
	RootFile  string // PEM file of the roots to trust for Directory; default the system's
	Storage   string // directory; required
	Logger    *slog.Logger
}

func (o *Options) validate() error {
	if o.Directory == "" {
		o.Directory = LetsEncrypt
	}
	u, err := url.Parse(o.Directory)
	switch {
	case !strings.Contains(o.Email, "@"):
		return fmt.Errorf("the address %q of the ACME account is no e-mail address", o.Email)
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil:
		return fmt.Errorf("the ACME directory %q is not an https URL", o.Directory)
	case o.Storage == "":
		return errors.New("no directory to store certificates in")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Manager keeps certificates for hosts.
type Manager struct {
	o       Options
	cache   *certmagic.Cache
	config  *certmagic.Config
	storage *certmagic.FileStorage
	issuer  *issuer
	life    context.Context
	end     context.CancelFunc
	changed chan struct{}

	mu         sync.Mutex
	hosts      map[string]bool
	challenges []model.Challenge
	made       uint64        // version of challenges
	applied    uint64        // version that is in force
	inForce    chan struct{} // closed and replaced when applied changes
}

// New returns a manager that asks for nothing until Manage. Close ends it.
func New(ctx context.Context, o Options) (*Manager, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	roots, err := readRoots(o.RootFile)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Storage, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of certificates: %w", err)
	}
	m := &Manager{
		o: o, storage: &certmagic.FileStorage{Path: filepath.Clean(o.Storage)}, changed: make(chan struct{}, 1),
		hosts: map[string]bool{}, inForce: make(chan struct{}),
	}
	m.life, m.end = context.WithCancel(ctx)
	client := &http.Client{
		Timeout:   httpTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
	}
	m.issuer = &issuer{m: m, http: client}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.config, nil },
		Logger:           zap.NewNop(),
	})
	m.config = certmagic.New(m.cache, certmagic.Config{
		Issuers: []certmagic.Issuer{m.issuer}, Storage: m.storage, Logger: zap.NewNop(), OnEvent: m.event,
		OCSP: certmagic.OCSPConfig{DisableStapling: true},
	})
	return m, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	st, err := os.Stat(file)
	if err == nil && st.Size() > maxRootFile {
		err = fmt.Errorf("%s has more than 1 MiB", file)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("the roots of the ACME directory: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the roots of the ACME directory: %s has no PEM certificate", file)
	}
	return pool, nil
}

// Close ends what is under way.
func (m *Manager) Close() {
	m.end()
	m.cache.Stop()
	m.issuer.http.CloseIdleConnections()
}

// Changed is sent to when Managed would return something else than before.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

func (m *Manager) notify() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// event hears what certmagic does.
func (m *Manager) event(_ context.Context, name string, data map[string]any) error {
	host, _ := data["identifier"].(string)
	switch name {
	case "cert_obtained":
		renewed, _ := data["renewal"].(bool)
		m.o.Logger.Info("certificate obtained", "host", host, "renewal", renewed)
		m.notify()
	case "cert_failed":
		m.o.Logger.Error("no certificate: it is tried again", "host", host, "error", data["error"])
	}
	return nil
}

// Manage has certificates kept for those hosts, and no longer for others. It does not wait for them.
func (m *Manager) Manage(hosts []string) error {
	if len(hosts) > maxHosts {
		return fmt.Errorf("%d hosts want certificates by ACME; at most %d may", len(hosts), maxHosts)
	}
	m.mu.Lock()
	var added []string
	var gone []certmagic.SubjectIssuer
	next := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		if next[h] = true; !m.hosts[h] {
			added = append(added, h)
		}
	}
	for h := range m.hosts {
		if !next[h] {
			gone = append(gone, certmagic.SubjectIssuer{Subject: h, IssuerKey: m.issuer.IssuerKey()})
		}
	}
	m.hosts = next
	m.mu.Unlock()
	if len(gone) > 0 {
		m.cache.RemoveManaged(gone)
	}
	if len(added) == 0 {
		return nil
	}
	if err := m.config.ManageAsync(m.life, added); err != nil {
		return fmt.Errorf("certificates by ACME: %w", err)
	}
	return nil
}

// Managed returns the certificates of hosts as far as there are any, the challenges to be answered, and the version to
// call Applied with. It reads files.
func (m *Manager) Managed(hosts []string) (*model.Managed, uint64) {
	m.mu.Lock()
	out := &model.Managed{Certificates: map[string]model.Certificate{}, Challenges: slices.Clone(m.challenges)}
	version := m.made
	m.mu.Unlock()
	for _, h := range hosts {
		cert, err := m.stored(h)
		switch {
		case err == nil:
			out.Certificates[h] = cert
		case !errors.Is(err, os.ErrNotExist):
			m.o.Logger.Error("a stored certificate cannot be used", "host", h, "error", err)
		}
	}
	return out, version
}

// stored returns a certificate of the storage.
func (m *Manager) stored(host string) (model.Certificate, error) {
	key := m.issuer.IssuerKey()
	chain, err := m.storage.Load(m.life, certmagic.StorageKeys.SiteCert(key, host))
	if err != nil {
		return model.Certificate{}, err
	}
	private, err := m.storage.Load(m.life, certmagic.StorageKeys.SitePrivateKey(key, host))
	if err != nil {
		return model.Certificate{}, err
	}
	if _, err := tls.X509KeyPair(chain, private); err != nil { // of two files one may be new already
		return model.Certificate{}, err
	}
	return model.Certificate{Chain: string(chain), Key: model.Secret(private)}, nil
}

// Applied says that what Managed returned with a version is in force.
func (m *Manager) Applied(version uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if version > m.applied {
		m.applied = version
		close(m.inForce)
		m.inForce = make(chan struct{})
	}
}

// change changes the challenges and waits until that is in force.
func (m *Manager) change(ctx context.Context, f func([]model.Challenge) []model.Challenge) error {
	m.mu.Lock()
	m.challenges = f(slices.Clone(m.challenges))
	m.made++
	version := m.made
	m.mu.Unlock()
	m.notify()
	for {
		m.mu.Lock()
		done, wait := m.applied >= version, m.inForce
		m.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("the answer to a challenge is not in force: %w", context.Cause(ctx))
		}
	}
}
