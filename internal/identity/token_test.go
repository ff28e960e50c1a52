package identity_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/identity"
)

var (
	pin32    = base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("p", 32)))
	secret32 = base64.RawURLEncoding.EncodeToString([]byte("a secret of exactly 32 bytes ok!"))
)

func TestParseToken(t *testing.T) {
	for _, s := range []string{
		"weft-join-v1.mesh." + pin32 + ".id1." + secret32,
		"weft-join-v1.my.mesh.example." + pin32 + ".0aF." + secret32,
		"weft-join-v1.mesh." + pin32[:22-1] + "A.x." + secret32, // 16 bytes of pin
	} {
		tok, err := identity.ParseToken("\n " + s + "\n")
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if tok.Text() != s {
			t.Errorf("round trip of %s gives %s", s, tok.Text())
		}
	}
	for name, s := range map[string]string{
		"empty":        "  ",
		"prefix":       "weft-join-v2.mesh." + pin32 + ".id." + secret32,
		"parts":        "weft-join-v1." + pin32 + ".id." + secret32,
		"trust domain": "weft-join-v1.Mesh." + pin32 + ".id." + secret32,
		"short pin":    "weft-join-v1.mesh.AAAA.id." + secret32,
		"bad pin":      "weft-join-v1.mesh." + strings.Repeat("*", 43) + ".id." + secret32,
		"long pin":     "weft-join-v1.mesh." + pin32 + pin32 + ".id." + secret32,
		"id":           "weft-join-v1.mesh." + pin32 + ".i/d." + secret32,
		"no id":        "weft-join-v1.mesh." + pin32 + ".." + secret32,
		"short secret": "weft-join-v1.mesh." + pin32 + ".id.geheim",
		"bad secret":   "weft-join-v1.mesh." + pin32 + ".id." + secret32 + "!",
		"long":         "weft-join-v1.mesh." + strings.Repeat("x", 2000),
	} {
		_, err := identity.ParseToken(s)
		if !errors.Is(err, identity.ErrTokenMalformed) {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), secret32[:12]) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

func TestTokenDoesNotPrint(t *testing.T) {
	tok, err := identity.ParseToken("weft-join-v1.mesh." + pin32 + ".id." + secret32)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", tok, "secret", tok.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", tok, "pointer", &tok, "secret", tok.Secret)
	js, err := json.Marshal(tok)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %q %v %#v %x", tok, tok, tok, tok.Secret, tok.Secret, struct{ T identity.Token }{tok}, struct{ T identity.Token }{tok}, tok.Secret) + log.String() + string(js)
	if strings.Contains(all, secret32) || strings.Contains(all, fmt.Sprintf("%x", secret32)) {
		t.Errorf("the secret shows: %s", all)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("weft-join-v1.mesh." + pin32 + ".id." + secret32)
	f.Add("weft-join-v1.a.b.c." + pin32 + ".id." + secret32)
	f.Add("weft-join-v1....")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := identity.ParseToken(s)
		if err != nil {
			if !errors.Is(err, identity.ErrTokenMalformed) {
				t.Errorf("error %v is not ErrTokenMalformed", err)
			}
			return
		}
		again, err := identity.ParseToken(tok.Text())
		if err != nil || !again.Equal(tok) || tok.Text() != strings.TrimSpace(s) {
			t.Errorf("round trip of %q: %v, %v", s, again, err)
		}
	})
}
