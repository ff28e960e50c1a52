package model

import (
	"crypto/sha256"
	"encoding/json"
)

// LimitID names a rate limit on the wire and in the tables of counters.
type LimitID [16]byte

// Where is where a limit's counters belong: its Domain, or the policy that it is of.
func (m *RateLimit) Where(ref PolicyRef) string {
	if m.Domain != "" {
		return m.Domain
	}
	return ref.Kind + "/" + ref.Namespace + "/" + ref.Name
}

// ID is a hash of where a limit was written and of all that it says. So proxies and control planes that mean the same
// limit agree, and a limit whose rate is changed is another one, with counters of its own.
func (m *RateLimit) ID(ref PolicyRef) (LimitID, error) {
	says, err := json.Marshal(m)
	if err != nil {
		return LimitID{}, err
	}
	sum := sha256.Sum256(append([]byte(m.Where(ref)+" "), says...))
	return LimitID(sum[:len(LimitID{})]), nil
}
