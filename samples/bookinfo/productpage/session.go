package productpage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

const (
	sessionCookie = "session"
	maxUser       = 64
)

// sign makes the cookie's value: the name and its HMAC, both base64.
func (s *Service) sign(user string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(user)) + "." + enc.EncodeToString(s.mac(user))
}

func (s *Service) mac(user string) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(user))
	return m.Sum(nil)
}

// user returns who is signed in, or "".
func (s *Service) user(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	name, mac, ok := strings.Cut(c.Value, ".")
	if !ok {
		return ""
	}
	n, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil {
		return ""
	}
	m, err := base64.RawURLEncoding.DecodeString(mac)
	if err != nil || !hmac.Equal(m, s.mac(string(n))) {
		return ""
	}
	return string(n)
}

func (s *Service) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	user := strings.TrimSpace(r.PostForm.Get("username"))
	if !validUser(user) {
		http.Error(w, "a name has 1 to 64 letters, digits and . - _ @", http.StatusBadRequest)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: s.sign(user), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, "/productpage", http.StatusFound)
}

func (s *Service) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/productpage", http.StatusFound)
}

// validUser says whether a name can stand in a header field as it is.
func validUser(s string) bool {
	if s == "" || len(s) > maxUser {
		return false
	}
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_@", c) >= 0
		if !ok {
			return false
		}
	}
	return true
}
