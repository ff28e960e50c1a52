package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of a join token's text form.
const (
	tokenPrefix    = "weft-join-v1."
	maxTokenBytes  = 1024
	minPinBytes    = 16
	maxIDBytes     = 64
	minSecretBytes = 16
	maxSecretBytes = 64
)

// ErrTokenMalformed is wrapped by every error of ParseToken.
var ErrTokenMalformed = errors.New("malformed join token")

// Secret is a string that does not print: fmt, slog and JSON show "[redacted]".
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Token is a join token: it lets a proxy that has nothing else prove to the control plane who it is, and,
// before it does, check that it talks to the control plane the token came from.
type Token struct {
	TrustDomain string
	Pin         []byte // leading 16 to 32 bytes of the SHA-256 of a root certificate's DER
	ID          string // names the token at the control plane; not secret
	Secret      Secret // base64url without padding, 16 to 64 bytes decoded
}

// ParseToken reads the text form
//
//	weft-join-v1.<trust domain>.<pin, base64url>.<id>.<secret, base64url>
//
// White space around it is ignored, for tokens live in files. A trust domain may hold dots, the other parts
// may not. Errors wrap ErrTokenMalformed and never quote the token.
func ParseToken(s string) (Token, error) {
	bad := func(why string) (Token, error) {
		return Token{}, fmt.Errorf("%w: %s; create one with `weft token create`", ErrTokenMalformed, why)
	}
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "\r\n") {
		return bad("it is broken into lines") // which the decoder of base64 would pass over
	}
	if s == "" {
		return bad("it is empty")
	}
	if len(s) > maxTokenBytes {
		return bad("longer than 1024 bytes")
	}
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return bad("does not begin with " + tokenPrefix)
	}
	part := strings.Split(rest, ".")
	n := len(part)
	if n < 4 {
		return bad("a part is missing")
	}
	t := Token{TrustDomain: strings.Join(part[:n-3], "."), ID: part[n-2], Secret: Secret(part[n-1])}
	if err := model.CheckTrustDomain(t.TrustDomain); err != nil {
		return bad(err.Error())
	}
	var err error
	if t.Pin, err = base64.RawURLEncoding.Strict().DecodeString(part[n-3]); err != nil || len(t.Pin) < minPinBytes || len(t.Pin) > sha256.Size {
		return bad("its root hash is not 16 to 32 bytes of base64url")
	}
	if !validTokenID(t.ID) {
		return bad("its id is not 1 to 64 letters and digits")
	}
	// The decoder's error would quote the secret's bytes: it is dropped on purpose.
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(string(t.Secret)); err != nil || len(raw) < minSecretBytes || len(raw) > maxSecretBytes {
		return bad("its secret is not 16 to 64 bytes of base64url")
	}
	return t, nil
}

// Text returns the form that ParseToken reads, secret included. Only its holder may see it.
func (t Token) Text() string {
	return tokenPrefix + t.TrustDomain + "." + base64.RawURLEncoding.EncodeToString(t.Pin) + "." + t.ID + "." + string(t.Secret)
}

// String names the token without its secret.
func (t Token) String() string {
	return tokenPrefix + t.TrustDomain + ".*." + t.ID + "." + redacted
}

// GoString is String.
func (t Token) GoString() string { return t.String() }

// SecretHash returns the SHA-256 of the secret, which is all the control plane keeps of it. The secret is
// random and long, so a slow hash would add nothing.
func (t Token) SecretHash() [sha256.Size]byte { return sha256.Sum256([]byte(t.Secret)) }

// PinMatches reports whether the token's pin is that of the root certificate in DER.
func (t Token) PinMatches(root []byte) bool {
	sum := sha256.Sum256(root)
	n := len(t.Pin)
	return n >= minPinBytes && n <= len(sum) && subtle.ConstantTimeCompare(t.Pin, sum[:n]) == 1
}

// Equal reports whether both tokens are the same.
func (t Token) Equal(u Token) bool {
	return t.TrustDomain == u.TrustDomain && t.ID == u.ID && bytes.Equal(t.Pin, u.Pin) &&
		subtle.ConstantTimeCompare([]byte(t.Secret), []byte(u.Secret)) == 1
}

func validTokenID(s string) bool {
	if s == "" || len(s) > maxIDBytes {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}
