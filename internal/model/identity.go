package model

import (
	"fmt"
	"net/url"
	"strings"
)

// Identity names a workload: SPIFFE ID spiffe://<trust domain>/ns/<namespace>/sa/<account>
// (SPIFFE-ID section 2; the path layout is the one Istio made common).
type Identity struct {
	TrustDomain string `json:"trustDomain"`
	Namespace   string `json:"namespace"`
	Account     string `json:"account"`
}

// String returns the SPIFFE ID as a URI, or "" for the zero Identity.
func (id Identity) String() string {
	if id == (Identity{}) {
		return ""
	}
	return "spiffe://" + id.TrustDomain + "/ns/" + id.Namespace + "/sa/" + id.Account
}

// URL returns the SPIFFE ID in the form a certificate's URI SAN takes.
func (id Identity) URL() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: id.TrustDomain, Path: "/ns/" + id.Namespace + "/sa/" + id.Account}
}

// IsZero reports whether the identity is unknown.
func (id Identity) IsZero() bool { return id == Identity{} }

// Bounds of the SPIFFE-ID specification, sections 2.1 to 2.3.
const (
	maxIDBytes          = 2048
	maxTrustDomainBytes = 255
)

// ParseIdentity reads a SPIFFE ID of the mesh's layout. It refuses whatever the SPIFFE-ID specification
// refuses (port, user, query, fragment, percent-encoding, empty or dot segments) and any other path layout.
func ParseIdentity(s string) (Identity, error) {
	bad := func(why string) (Identity, error) {
		return Identity{}, fmt.Errorf("SPIFFE ID %q: %s", clip(s, 128), why)
	}
	if len(s) > maxIDBytes {
		return bad("longer than 2048 bytes")
	}
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok {
		return bad("does not begin with spiffe://")
	}
	td, path, ok := strings.Cut(rest, "/")
	if !ok {
		return bad("has no path")
	}
	if err := CheckTrustDomain(td); err != nil {
		return bad(err.Error())
	}
	seg := strings.Split(path, "/")
	if len(seg) != 4 || seg[0] != "ns" || seg[2] != "sa" {
		return bad("path is not /ns/<namespace>/sa/<account>")
	}
	for _, p := range seg {
		if err := checkSegment(p); err != nil {
			return bad(err.Error())
		}
	}
	return Identity{TrustDomain: td, Namespace: seg[1], Account: seg[3]}, nil
}

// CheckTrustDomain reports why s is not a SPIFFE trust domain name (section 2.1).
func CheckTrustDomain(s string) error {
	if s == "" || len(s) > maxTrustDomainBytes {
		return fmt.Errorf("trust domain must have 1 to %d bytes", maxTrustDomainBytes)
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return fmt.Errorf("trust domain has %q; allowed are a-z 0-9 . - _", c)
		}
	}
	return nil
}

func checkSegment(s string) error {
	if s == "" || s == "." || s == ".." {
		return fmt.Errorf("path segment %q is not allowed", s)
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return fmt.Errorf("path segment has %q; allowed are letters, digits, . - _", c)
		}
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
