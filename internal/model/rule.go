package model

import (
	"fmt"
	"net/netip"
)

// RuleRef says where a rule was written, so that every decision can be traced to a line.
type RuleRef struct {
	Kind      string `json:"kind"` // "HTTPRoute"
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Rule      int    `json:"rule"`           // index within the resource
	File      string `json:"file,omitempty"` // as given to apply; "" when it came over an API
	Line      int    `json:"line,omitempty"` // first line of the rule in File, from 1
}

// String returns "HTTPRoute default/reviews rule 1 (reviews.yaml:23)".
func (r RuleRef) String() string {
	if r.Kind == "" {
		return "default"
	}
	s := fmt.Sprintf("%s %s/%s rule %d", r.Kind, r.Namespace, r.Name, r.Rule)
	if r.File != "" {
		s += fmt.Sprintf(" (%s:%d)", r.File, r.Line)
	}
	return s
}

// Rule is what to do with requests that match any of its Matches.
type Rule struct {
	Ref      RuleRef   `json:"ref"`
	Layer    Layer     `json:"layer,omitempty"`   // of a service's rules; those of a listener are all of its own
	Port     uint16    `json:"port,omitempty"`    // only on this service port; 0 means every port
	Hosts    []string  `json:"hosts,omitempty"`   // only for these authorities ("*.x" allowed); none means any
	Matches  []Match   `json:"matches,omitempty"` // none means every request
	Request  HeaderMod `json:"request,omitzero"`
	Response HeaderMod `json:"response,omitzero"`
	Filters  Filters   `json:"filters,omitzero"`
	Policy   *Policy   `json:"policy,omitempty"`   // its fields stand before those of the service asked for
	Backends []Backend `json:"backends,omitempty"` // none means: answer 500
}

// Layer is what a rule of a service routes.
type Layer string

// The layers. On a port for which there is no rule of a layer, its traffic goes to the service.
const (
	Requests    Layer = ""    // HTTP requests
	ServerNames Layer = "tls" // connections of TLS by their server names, which are the rule's hosts
	Bytes       Layer = "tcp" // connections that carry anything else
)

// Match is a condition on a request; all its parts must hold. A part left out holds.
type Match struct {
	Path    PathMatch    `json:"path,omitzero"`
	Method  string       `json:"method,omitempty"`
	Headers []ValueMatch `json:"headers,omitempty"` // names in lower case
	Query   []ValueMatch `json:"query,omitempty"`
	More    *MoreMatch   `json:"more,omitempty"`
}

// MoreMatch is what the Gateway API has no words for (Istio, HTTPMatchRequest). The names of its values are empty.
type MoreMatch struct {
	Port      uint16       `json:"port,omitempty"`      // that the client connected to; 0 means any
	Scheme    *ValueMatch  `json:"scheme,omitempty"`    // "http" or "https"
	Authority *ValueMatch  `json:"authority,omitempty"` // host and port, as the request has them
	Method    *ValueMatch  `json:"method,omitempty"`    // besides Match.Method
	Source    *SourceMatch `json:"source,omitempty"`

	Addresses *AddressMatch `json:"addresses,omitempty"`
}

// AddressMatch is a condition on the addresses of a connection: one prefix of each list that is not empty has to hold
// the address. An address that is not known is in none.
type AddressMatch struct {
	Sources      []netip.Prefix `json:"sources,omitempty"`      // of who connects
	Destinations []netip.Prefix `json:"destinations,omitempty"` // that it connects to; of a service by name, the service's
}

// SourceMatch is a condition on the workload that makes the request. A proxy decides it once, when it compiles.
type SourceMatch struct {
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"` // all of them
}

// MatchType says how a value is compared.
type MatchType string

// The ways to compare. Prefix is by path element: /a matches /a and /a/b, not /ab (Gateway API, PathMatchPathPrefix).
const (
	Exact  MatchType = "exact"
	Prefix MatchType = "prefix"
	Regex  MatchType = "regex" // RE2, matching the whole value

	TextPrefix MatchType = "textPrefix" // byte by byte: /a matches /ab too (Istio, StringMatch)
	Present    MatchType = "present"    // of a header or query parameter: there is one, whatever its value
)

// PathMatch is a condition on the path without its query. The zero value matches every path.
type PathMatch struct {
	Type  MatchType `json:"type,omitempty"`
	Value string    `json:"value,omitempty"`
	Fold  bool      `json:"fold,omitempty"` // letter case does not matter (ASCII)
}

// ValueMatch is a condition on the value of a header or query parameter.
type ValueMatch struct {
	Name  string    `json:"name"`
	Type  MatchType `json:"type,omitempty"` // Exact if empty; Prefix is not used here
	Value string    `json:"value"`
	Not   bool      `json:"not,omitempty"` // the request must not have such a value; having none is right then
}

// HeaderMod changes header fields: first Set (replace or add), then Add, then Remove. Names in lower case.
type HeaderMod struct {
	Set    []HeaderValue `json:"set,omitempty"`
	Add    []HeaderValue `json:"add,omitempty"`
	Remove []string      `json:"remove,omitempty"`
}

// IsZero reports whether there is nothing to change.
func (m HeaderMod) IsZero() bool { return len(m.Set)+len(m.Add)+len(m.Remove) == 0 }

// HeaderValue is a header field to write.
type HeaderValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Backend is a share of a rule's traffic.
type Backend struct {
	Service  ServiceName       `json:"service"`
	Port     uint16            `json:"port,omitempty"` // 0 means: the port the request came for
	Weight   uint32            `json:"weight"`
	Invalid  string            `json:"invalid,omitempty"` // why the reference does not resolve; its share is answered 500
	Request  HeaderMod         `json:"request,omitzero"`  // changes for this backend alone
	Response HeaderMod         `json:"response,omitzero"`
	Subset   map[string]string `json:"subset,omitempty"`   // only endpoints with these labels
	Upstream *Upstream         `json:"upstream,omitempty"` // of the subset, in place of the service's
	Filters  *Filters          `json:"filters,omitempty"`  // after those of the rule, when the backend is chosen; nil: none
}
