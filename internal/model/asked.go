package model

import (
	"cmp"
	"time"
)

// DefaultLimitTimeout is how long a rate-limit service has to answer where nothing is said: a request waits for it, and it
// is to be near.
const DefaultLimitTimeout = 100 * time.Millisecond

// LimitService is a rate-limit service that decides in place of a count (Envoy's protocol,
// envoy.service.ratelimit.v3.RateLimitService). It is asked once for each request, before a backend is.
type LimitService struct {
	Service     ServiceName       `json:"service"`
	Port        uint16            `json:"port"`
	Domain      string            `json:"domain"`               // of the service's own configuration
	Descriptors []LimitDescriptor `json:"descriptors"`          // by which it counts; what a request has no value for is left out
	Hits        uint32            `json:"hits,omitempty"`       // what a request counts for; 1 when 0
	Timeout     time.Duration     `json:"timeout,omitempty"`    // DefaultLimitTimeout when 0
	FailClosed  bool              `json:"failClosed,omitempty"` // without an answer the request is refused, not let pass
	Invalid     string            `json:"invalid,omitempty"`    // why the reference does not resolve: as without an answer
}

// Patience is how long the service has to answer.
func (s *LimitService) Patience() time.Duration { return cmp.Or(s.Timeout, DefaultLimitTimeout) }

// LimitDescriptor is a list of keys and values that a rate-limit service counts by.
type LimitDescriptor struct {
	Entries []LimitEntry `json:"entries"`
}

// LimitEntry is a key and where its value comes from: one of the others is set.
type LimitEntry struct {
	Key      string `json:"key"`
	Value    string `json:"value,omitempty"`    // itself
	Header   string `json:"header,omitempty"`   // first value of a header field, in lower case
	Path     bool   `json:"path,omitempty"`     // without its query
	Method   bool   `json:"method,omitempty"`   //
	Identity bool   `json:"identity,omitempty"` // the client's SPIFFE ID
	Source   bool   `json:"source,omitempty"`   // the client's address, without its port

	// Optional: a request without the value has the descriptor without the entry. Else it does not have the descriptor.
	Optional bool `json:"optional,omitempty"`
}

// AuthTimeout is how long an authorization service has to answer where no policy says so: nothing can be said of it in a
// route, and a login may take the service a question of its own.
const AuthTimeout = 5 * time.Second

// ExternalAuth is a service that says whether requests go on (Gateway API, HTTPExternalAuthFilter). Without its answer they
// do not.
type ExternalAuth struct {
	GRPC     bool        `json:"grpc,omitempty"` // it speaks envoy.service.auth.v3.Authorization; else HTTP
	Service  ServiceName `json:"service"`
	Port     uint16      `json:"port"`
	Path     string      `json:"path,omitempty"`     // HTTP: stands before the request's
	Request  []string    `json:"request,omitempty"`  // headers of the request that it is told, in lower case; GRPC: all when none
	Response []string    `json:"response,omitempty"` // HTTP: headers of its answer that the backend is told; all when none
	MaxBody  int         `json:"maxBody,omitempty"`  // bytes of content that it is told, at most 65535; requests with more are refused
	Invalid  string      `json:"invalid,omitempty"`  // why the reference does not resolve: no request goes on
}

// EachAsked calls f with each service that has to be asked before requests under the policy go on. p may be nil.
func (p *Policy) EachAsked(f func(ServiceName)) {
	if p == nil {
		return
	}
	for i := range p.Limits {
		if s := p.Limits[i].Service; s != nil && s.Invalid == "" {
			f(s.Service)
		}
	}
}

// EachUsed calls f with each service that a proxy needs for requests by the rule: backends, mirrors, and those that are
// asked. A name may come more than once.
func (r *Rule) EachUsed(f func(ServiceName)) {
	for i := range r.Backends {
		if b := &r.Backends[i]; b.Invalid == "" && !b.Service.IsZero() {
			f(b.Service)
			b.Filters.eachUsed(f)
		}
	}
	r.Filters.eachUsed(f)
	r.Policy.EachAsked(f)
}

// eachUsed calls g with each service that the filters send requests or questions to. f may be nil.
func (f *Filters) eachUsed(g func(ServiceName)) {
	if f == nil {
		return
	}
	for i := range f.Mirrors {
		if m := &f.Mirrors[i]; m.Invalid == "" {
			g(m.Service)
		}
	}
	if a := f.Auth; a != nil && a.Invalid == "" {
		g(a.Service)
	}
}

// LimitedByServers reports whether the rate limits of the service are seen to by its servers' proxies, or by those of the
// gateway by which it leaves the mesh: only these see all clients.
func (s *Service) LimitedByServers() bool {
	if s.Policy == nil || len(s.Policy.Limits) == 0 {
		return false
	}
	if !s.Upstream.EgressGateway().IsZero() {
		return true
	}
	for i := range s.Endpoints {
		if !s.Endpoints[i].Plain {
			return true
		}
	}
	return false
}

// EachUsed calls f with each service that a client's proxy needs for requests to the service, besides itself.
func (s *Service) EachUsed(f func(ServiceName)) {
	for i := range s.Rules {
		s.Rules[i].EachUsed(f)
	}
	if !s.LimitedByServers() {
		s.Policy.EachAsked(f)
	}
	if g := s.Upstream.EgressGateway(); !g.IsZero() {
		f(g)
	}
}
