package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/internal/control/store"
	"github.com/weft-mesh/weft/internal/identity/issue"
	"github.com/weft-mesh/weft/internal/model"
)

// Lifetimes.
const (
	RootLife         = 10 * 365 * 24 * time.Hour
	IntermediateLife = 365 * 24 * time.Hour
	DefaultTTL       = 24 * time.Hour // of a workload's SVID
	MaxTTL           = 30 * 24 * time.Hour
	MinTTL           = time.Minute

	// renewAhead is when a new intermediate is made: a third of its life before its end, many times MaxTTL.
	renewAhead = IntermediateLife / 3
)

// Options says which CA to open.
type Options struct {
	Store       *store.Store
	TrustDomain string
	DataDir     string           // where ca.key is, unless KeyFile says otherwise
	KeyFile     string           // --ca-key
	TTL         time.Duration    // of workload SVIDs, MinTTL to MaxTTL; default DefaultTTL
	Logger      *slog.Logger     // default: discard
	Now         func() time.Time // default: time.Now
}

// CA signs identities of one trust domain.
type CA struct {
	kv          clientv3.KV
	client      *clientv3.Client
	prefix      string // of the CA's keys
	trustDomain string
	ttl         time.Duration
	log         *slog.Logger
	now         func() time.Time
	seal        *sealer
	mat         atomic.Pointer[material]

	mu      sync.Mutex // guards servers
	servers map[model.Identity]*serverCert
}

// Open reads the CA from the store, or creates it there: of several control planes that start at once, one
// creates and all use it. ctx bounds the opening. Errors about the CA are *Error.
func Open(ctx context.Context, o Options) (*CA, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	c := &CA{
		kv: o.Store.Client(), client: o.Store.Client(), prefix: o.Store.Prefix() + "ca/", trustDomain: o.TrustDomain,
		ttl: o.TTL, log: o.Logger, now: o.Now, servers: make(map[model.Identity]*serverCert),
	}
	rec, rev, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	key, err := loadKey(o.KeyFile, rec != nil)
	if err != nil {
		return nil, err
	}
	if c.seal, err = newSealer(key); err != nil {
		return nil, err
	}
	if rec == nil {
		if err := c.create(ctx); err != nil {
			return nil, err
		}
		if rec, rev, err = c.read(ctx); err != nil {
			return nil, err
		}
		if rec == nil {
			return nil, damaged(c.place(), errors.New("it vanished while it was created"))
		}
	}
	if err := c.adopt(rec, rev, o.KeyFile); err != nil {
		return nil, err
	}
	return c, c.renewIfDue(ctx)
}

func (o *Options) setDefaults() error {
	if err := model.CheckTrustDomain(o.TrustDomain); err != nil {
		return &Error{Kind: ErrTrustDomain, Reason: fmt.Sprintf("trust domain %q: %v", o.TrustDomain, err), Remedy: "write it like a domain name", Code: exitConfig, Err: err}
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.TTL < MinTTL || o.TTL > MaxTTL {
		return &Error{Kind: ErrRequest, Reason: fmt.Sprintf("a workload certificate's lifetime of %s is not between %s and %s", o.TTL, MinTTL, MaxTTL), Code: exitConfig}
	}
	if o.KeyFile == "" {
		o.KeyFile = filepath.Join(o.DataDir, defaultKeyFile)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// loadKey reads the key file, and creates it only where there is no CA yet: a new key could not open an old CA.
func loadKey(path string, have bool) ([]byte, error) {
	key, err := readKeyFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	if have {
		return nil, &Error{
			Kind: ErrKeyFile, Place: path, Reason: "the store has a CA already, and its key file is not here", Code: exitData, Err: os.ErrNotExist,
			Remedy: "copy ca.key from the control plane that created it, mode 0600, or name it with --ca-key",
		}
	}
	return createKeyFile(path)
}

func (c *CA) place() string { return c.prefix + "authority" }

func storeError(place string, err error) error {
	return &Error{Kind: ErrStore, Place: place, Reason: "the store does not answer: " + err.Error(), Code: exitUnavailable, Err: err}
}

// read returns the stored record, nil if there is none.
func (c *CA) read(ctx context.Context) (*record, int64, error) {
	resp, err := c.kv.Get(ctx, c.place())
	if err != nil {
		return nil, 0, storeError(c.place(), err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, nil
	}
	rec, err := decodeRecord(c.place(), resp.Kvs[0].Value)
	if err != nil {
		return nil, 0, err
	}
	return &rec, resp.Kvs[0].ModRevision, nil
}

// create writes a new CA, unless somebody else has.
func (c *CA) create(ctx context.Context) error {
	now := c.now()
	root, err := issue.NewRoot(c.trustDomain, now, RootLife)
	if err != nil {
		return err
	}
	inter, err := issue.NewIntermediate(root, c.trustDomain, now, IntermediateLife)
	if err != nil {
		return err
	}
	value, err := c.seal.encode(c.trustDomain, root, inter)
	if err != nil {
		return err
	}
	resp, err := c.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(c.place()), "=", 0)).
		Then(clientv3.OpPut(c.place(), string(value))).
		Commit()
	if err != nil {
		return storeError(c.place(), err)
	}
	if resp.Succeeded {
		c.log.InfoContext(ctx, "CA created", "trust_domain", c.trustDomain, "root_not_after", root.Cert.NotAfter)
	}
	return nil
}

// adopt makes a stored record the one that signs.
func (c *CA) adopt(rec *record, revision int64, keyFile string) error {
	if rec.TrustDomain != c.trustDomain {
		return &Error{
			Kind: ErrTrustDomain, Place: c.place(), Code: exitConfig,
			Reason: fmt.Sprintf("the store's CA is of trust domain %q, not %q", rec.TrustDomain, c.trustDomain),
			Remedy: "start with the store's trust domain, or with an empty store",
		}
	}
	if !bytes.Equal(rec.KeyID, c.seal.id) {
		return &Error{
			Kind: ErrWrongKey, Place: keyFile, Reason: "this key file is not the one the store's CA was sealed with", Code: exitData,
			Remedy: "copy ca.key from the control plane that created the CA, or name it with --ca-key",
		}
	}
	m, err := c.seal.decode(c.place(), *rec, revision)
	if err != nil {
		return err
	}
	c.mat.Store(m)
	return nil
}

// TrustDomain returns the CA's trust domain.
func (c *CA) TrustDomain() string { return c.trustDomain }

// Bundle returns the roots of the trust domain in DER, the signing one first. The caller does not change it.
func (c *CA) Bundle() [][]byte { return c.mat.Load().bundle }
