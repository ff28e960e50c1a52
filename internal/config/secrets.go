package config

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// secretKind is the kind of Secrets that a control plane keeps: for certificates of its Gateways.
func secretKind() Kind {
	return Kind{
		Name: kindSecret, Versions: []string{"v1"}, Plural: "secrets", seal: true,
		parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseStoredSecret(d) },
	}
}

// secrets says of each Secret with a certificate until when it holds, and warns of those that do not hold at the time
// now; the zero time warns of none.
func (c *compiler) secrets(resources []Resource, now time.Time) {
	for i := range resources {
		r := &resources[i]
		s, ok := r.body.(*gateway.Secret)
		if !ok {
			continue
		}
		accepted := newCondition(ConditionAccepted, ReasonAccepted, nil)
		if s.Leaf != nil {
			accepted.Message = "the certificate expires on " + s.Leaf.NotAfter.UTC().Format(time.RFC3339)
			if message, remedy := lifetime(now, s.Leaf.NotBefore, s.Leaf.NotAfter); message != "" {
				c.warn(r, s.At, "the certificate "+message, remedy)
			}
		}
		if lists, err := model.ParseRevocations(s.Revoked); err == nil {
			if message, remedy := ending(now, lists.Expires()); message != "" {
				c.warn(r, s.At, "a list of revoked certificates "+message, remedy)
			}
		}
		c.mesh.Status[r.Key] = []Condition{accepted}
	}
}

// ending says what is wrong with when lists of revoked certificates hold, "" if nothing is, or if now is zero. They are
// renewed often, so that only those that are over are told of.
func ending(now, until time.Time) (message, remedy string) {
	if now.IsZero() || until.IsZero() || !now.After(until) {
		return "", ""
	}
	return "held until " + until.UTC().Format(time.RFC3339) + ": certificates of its issuer are refused", "renew it"
}

// lifetime says what is wrong with when a certificate holds, "" if nothing is, or if now is zero.
func lifetime(now, from, until time.Time) (message, remedy string) {
	day := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case now.IsZero():
		return "", ""
	case now.After(until):
		return fmt.Sprintf("expired on %s", day(until)), "renew it"
	case now.Before(from):
		return fmt.Sprintf("is not valid before %s", day(from)), ""
	case until.Sub(now) < expirySoon:
		return fmt.Sprintf("expires on %s", day(until)), "renew it"
	}
	return "", ""
}
