package ca

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of join tokens.
const (
	DefaultTokenTTL = 10 * time.Minute
	MaxTokenTTL     = 30 * 24 * time.Hour
	MaxTokenUses    = 100_000

	// remember is how long an ended token is told from one that never was.
	remember = 24 * time.Hour

	tokenIDBytes, secretBytes = 8, 32
	maxRedeemTries            = 64 // lost races; each means that another redeem won
)

// tokenRecord is a join token as the store keeps it: of the secret, only a hash.
type tokenRecord struct {
	Identity model.Identity `json:"identity"`
	Hash     []byte         `json:"hash"`
	Expires  time.Time      `json:"expires"`
	Uses     int            `json:"uses"` // left
}

func (c *CA) tokenKey(id string) string { return c.prefix + "tokens/" + id }
func (c *CA) spentKey(id string) string { return c.prefix + "spent/" + id }

// CreateToken returns the text of a join token that admits id, uses times within ttl. ttl 0 is
// DefaultTokenTTL and uses 0 is 1. The text holds a secret: it is shown once and kept nowhere.
func (c *CA) CreateToken(ctx context.Context, id model.Identity, ttl time.Duration, uses int) (string, error) {
	if ttl == 0 {
		ttl = DefaultTokenTTL
	}
	if uses == 0 {
		uses = 1
	}
	switch {
	case ttl < time.Second || ttl > MaxTokenTTL:
		return "", fmt.Errorf("join token: a lifetime of %s is not between 1s and %s", ttl, MaxTokenTTL)
	case uses < 1 || uses > MaxTokenUses:
		return "", fmt.Errorf("join token: %d uses is not between 1 and %d", uses, MaxTokenUses)
	case id.TrustDomain != c.trustDomain:
		return "", fmt.Errorf("join token: %s is not of trust domain %s", id, c.trustDomain)
	case id == c.ControlIdentity():
		return "", fmt.Errorf("join token: %s is the control plane itself", id)
	}
	if _, err := model.ParseIdentity(id.String()); err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	random := make([]byte, tokenIDBytes+secretBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("join token: %w", err)
	}
	root := sha256.Sum256(c.mat.Load().root.Cert.Raw)
	t := identity.Token{
		TrustDomain: c.trustDomain, Pin: root[:], ID: hex.EncodeToString(random[:tokenIDBytes]),
		Secret: identity.Secret(base64.RawURLEncoding.EncodeToString(random[tokenIDBytes:])),
	}
	if err := c.storeToken(ctx, t, tokenRecord{Identity: id, Expires: c.now().Add(ttl), Uses: uses}, ttl); err != nil {
		return "", err
	}
	c.log.InfoContext(ctx, "join token created", "token_id", t.ID, "identity", id.String(), "ttl", ttl, "uses", uses)
	return t.Text(), nil
}

func (c *CA) storeToken(ctx context.Context, t identity.Token, rec tokenRecord, ttl time.Duration) error {
	hash := t.SecretHash()
	rec.Hash = hash[:]
	value, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("join token: %w", err)
	}
	// A lease counts whole seconds: round up.
	live, err := c.client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return storeError(c.tokenKey(t.ID), err)
	}
	after, err := c.client.Grant(ctx, int64((ttl+remember)/time.Second))
	if err != nil {
		return storeError(c.tokenKey(t.ID), err)
	}
	resp, err := c.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(c.spentKey(t.ID)), "=", 0)).
		Then(
			clientv3.OpPut(c.tokenKey(t.ID), string(value), clientv3.WithLease(live.ID)),
			clientv3.OpPut(c.spentKey(t.ID), string(rec.Hash), clientv3.WithLease(after.ID)),
		).Commit()
	if err != nil {
		return storeError(c.tokenKey(t.ID), err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("join token %s exists already", t.ID)
	}
	return nil
}

// RedeemToken uses a token once and returns whom it admits. Errors: identity.ErrTokenMalformed,
// ErrTokenForeign, ErrTokenUnknown, ErrTokenSpent, or *Error while the store is away. A wrong secret is
// ErrTokenUnknown, so that ids tell nothing.
func (c *CA) RedeemToken(ctx context.Context, token string) (model.Identity, error) {
	t, err := identity.ParseToken(token)
	if err != nil {
		return model.Identity{}, err
	}
	if err := c.domestic(t); err != nil {
		return model.Identity{}, err
	}
	for range maxRedeemTries {
		id, done, err := c.redeemOnce(ctx, t)
		if err != nil {
			return model.Identity{}, err
		}
		if done {
			c.log.InfoContext(ctx, "join token redeemed", "token_id", t.ID, "identity", id.String())
			return id, nil
		}
	}
	return model.Identity{}, storeError(c.tokenKey(t.ID), errors.New("too many redeem it at once"))
}

// domestic checks trust domain and root hash.
func (c *CA) domestic(t identity.Token) error {
	if t.TrustDomain != c.trustDomain {
		return fmt.Errorf("%w: it is for trust domain %q, this is %q", ErrTokenForeign, t.TrustDomain, c.trustDomain)
	}
	for _, root := range c.Bundle() {
		if t.PinMatches(root) {
			return nil
		}
	}
	return fmt.Errorf("%w: of the same trust domain, with another root", ErrTokenForeign)
}

// redeemOnce reads the token and takes one use by compare and swap; done is false if another was faster.
func (c *CA) redeemOnce(ctx context.Context, t identity.Token) (id model.Identity, done bool, err error) {
	key := c.tokenKey(t.ID)
	resp, err := c.kv.Txn(ctx).Then(clientv3.OpGet(key), clientv3.OpGet(c.spentKey(t.ID))).Commit()
	if err != nil {
		return id, false, storeError(key, err)
	}
	hash := t.SecretHash()
	live, spent := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if len(live) == 0 {
		if len(spent) > 0 && subtle.ConstantTimeCompare(spent[0].Value, hash[:]) == 1 {
			return id, false, ErrTokenSpent
		}
		return id, false, ErrTokenUnknown
	}
	var rec tokenRecord
	if err := json.Unmarshal(live[0].Value, &rec); err != nil {
		return id, false, damaged(key, err)
	}
	if subtle.ConstantTimeCompare(rec.Hash, hash[:]) != 1 {
		return id, false, ErrTokenUnknown
	}
	// A lease starts anew when the store restarts; the token's own time does not.
	if !c.now().Before(rec.Expires) || rec.Uses < 1 {
		return id, false, ErrTokenSpent
	}
	rec.Uses--
	take := clientv3.OpDelete(key)
	if rec.Uses > 0 {
		value, err := json.Marshal(rec)
		if err != nil {
			return id, false, fmt.Errorf("join token: %w", err)
		}
		take = clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease())
	}
	won, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", live[0].ModRevision)).Then(take).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) || errors.Is(err, rpctypes.ErrKeyNotFound) {
		return id, false, nil // it expired between reading and taking: look again
	}
	if err != nil {
		return id, false, storeError(key, err)
	}
	return rec.Identity, won.Succeeded, nil
}
