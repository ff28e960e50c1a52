package model

import "time"

// Upstream is how a service's endpoints are reached, chosen and watched. Zero fields say nothing: then the
// defaults that are given hold.
type Upstream struct {
	Ref PolicyRef `json:"ref,omitzero"`

	Balance     Balance       `json:"balance,omitzero"`
	Ejection    *Ejection     `json:"ejection,omitempty"`
	Health      *HealthCheck  `json:"health,omitempty"`
	Connections Connections   `json:"connections,omitzero"`
	Budget      *RetryBudget  `json:"retryBudget,omitempty"`
	RetryAfter  *RetryAfter   `json:"retryAfter,omitempty"`
	TLS         *UpstreamTLS  `json:"tls,omitempty"`         // to endpoints outside the mesh
	PortTLS     []UpstreamTLS `json:"portTLS,omitempty"`     // in place of TLS for the endpoints of some ports: each has Ports
	Egress      *Egress       `json:"egress,omitempty"`      // how endpoints outside the mesh are come to; nil: directly
	ProxyHeader int           `json:"proxyHeader,omitempty"` // plain endpoints: version of the PROXY protocol to begin connections with, 1 or 2

	Tunnel *Tunnel `json:"tunnel,omitempty"` // plain endpoints: where their connections of bytes lead to

	Ports []PortUpstream `json:"ports,omitempty"` // what holds for single ports, by number; each once
}

// Tunnel has endpoints, which are forward proxies, carry connections of bytes on (RFC 9110, section 9.3.6). Requests of HTTP
// are sent to the endpoints as ever.
type Tunnel struct {
	Post bool   `json:"post,omitempty"` // by POST, whose content and answer are the bytes; else by CONNECT
	Host string `json:"host"`           // DNS name or IP address
	Port uint16 `json:"port"`
}

// Egress is the way out of the mesh: requests go to the proxies of a gateway, which reach the endpoints.
type Egress struct {
	Gateway ServiceName `json:"gateway"` // the service that the gateway's proxies are endpoints of
}

// EgressGateway returns the gateway that requests leave the mesh through; zero when they go directly. u may be nil.
func (u *Upstream) EgressGateway() ServiceName {
	if u == nil || u.Egress == nil {
		return ServiceName{}
	}
	return u.Egress.Gateway
}

// Balance is how an endpoint is chosen.
type Balance struct {
	Algorithm        Algorithm     `json:"algorithm,omitempty"`        // LeastRequest when empty
	Hash             []HashKey     `json:"hash,omitempty"`             // RingHash, Maglev: the first that the request has
	TableSize        int           `json:"tableSize,omitempty"`        // RingHash: points at least, 1024 when 0; Maglev: a prime, 65537 when 0
	Decay            time.Duration `json:"decay,omitempty"`            // PeakEWMA; 10 s when 0
	WarmUp           time.Duration `json:"warmUp,omitempty"`           // over which a new endpoint comes to its full share
	WarmUpFrom       *float64      `json:"warmUpFrom,omitempty"`       // part of its weight that a new endpoint begins with, 0 to 1; 0.1 when nil
	WarmUpAggression float64       `json:"warmUpAggression,omitempty"` // above 1: more of the rise comes early; 1 when 0: a straight line
	Panic            float64       `json:"panic,omitempty"`            // share of healthy endpoints below which health is not looked at; 0: never
	Locality         *Locality     `json:"locality,omitempty"`
}

// Algorithm is a way to choose.
type Algorithm string

const (
	LeastRequest Algorithm = "leastRequest" // fewer requests in flight, of two by chance
	RoundRobin   Algorithm = "roundRobin"
	Random       Algorithm = "random"
	PeakEWMA     Algorithm = "peakEWMA" // less expected latency, of two by chance
	RingHash     Algorithm = "ringHash"
	Maglev       Algorithm = "maglev"
)

// HashKey is a part of a request that names who it is from. One of the four is set.
type HashKey struct {
	Header string        `json:"header,omitempty"` // in lower case
	Cookie string        `json:"cookie,omitempty"`
	Query  string        `json:"query,omitempty"`
	Source bool          `json:"source,omitempty"` // the client's address or identity
	TTL    time.Duration `json:"ttl,omitempty"`    // Cookie: it is set on clients without one, for so long; 0: not set
	Path   string        `json:"path,omitempty"`   // Cookie

	Attributes []CookieAttribute `json:"attributes,omitempty"` // Cookie: besides its path, its age and HttpOnly
}

// CookieAttribute is an attribute of a cookie that is set (RFC 6265, section 4.1.1), with a value or without.
type CookieAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Locality is whether and how near endpoints are preferred. Localities are "region/zone/subzone", cut where they
// are not known.
type Locality struct {
	Prefer     bool            `json:"prefer,omitempty"`     // nearest first; farther ones as those fail
	Failover   []Failover      `json:"failover,omitempty"`   // which region stands in for which
	Priorities []string        `json:"priorities,omitempty"` // labels, in order: the more of them an endpoint shares with the client, the nearer it is
	Distribute []LocalityShare `json:"distribute,omitempty"` // fixed shares, in place of nearness
	Capacity   float64         `json:"capacity,omitempty"`   // of endpoints over need: 1.4 when 0, so traffic spills below 71% healthy
}

// Failover says which region takes over from another.
type Failover struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// LocalityShare says how the clients of a locality are spread.
type LocalityShare struct {
	From string             `json:"from"` // "region/zone/*"
	To   map[string]float64 `json:"to"`   // shares that add up to 1
}

// Ejection takes endpoints that fail out of the choice for a while.
type Ejection struct {
	Consecutive5xx     int           `json:"consecutive5xx,omitempty"`     // answers 5xx, and failures; 0: not looked at
	ConsecutiveGateway int           `json:"consecutiveGateway,omitempty"` // 502, 503, 504, and failures
	ConsecutiveLocal   int           `json:"consecutiveLocal,omitempty"`   // failures to connect, and resets
	Statuses           []int         `json:"statuses,omitempty"`           // that alone are errors, for all counts, besides failures; none: 500 to 599
	SuccessRate        float64       `json:"successRate,omitempty"`        // below this, 0 to 1; 0: not looked at
	MinRequests        int           `json:"minRequests,omitempty"`        // in Window, for SuccessRate; 5 when 0
	Window             time.Duration `json:"window,omitempty"`             // of SuccessRate; 10 s when 0
	Base               time.Duration `json:"base,omitempty"`               // first penalty, which doubles; 1 s when 0
	Max                time.Duration `json:"max,omitempty"`                // penalty at most; 1 min when 0
	MaxShare           float64       `json:"maxShare,omitempty"`           // of endpoints ejected at a time; 0.5 when 0
	MinHealthy         float64       `json:"minHealthy,omitempty"`         // share of healthy endpoints below which nobody is ejected
}

// RetryAfter leaves an endpoint that answers 429 or 503 with the field retry-after (RFC 9110, section 10.2.3) out of the
// choice for as long as it asks.
type RetryAfter struct {
	Max time.Duration `json:"max,omitempty"` // however long it asks; 30 s when 0
}

// HealthCheck asks endpoints whether they serve.
type HealthCheck struct {
	Type      HealthType    `json:"type"`
	Path      string        `json:"path,omitempty"`      // HTTP; "/" when empty
	Host      string        `json:"host,omitempty"`      // HTTP
	Codes     []CodeRange   `json:"codes,omitempty"`     // HTTP: which statuses are good; 200 to 299 when none
	Service   string        `json:"service,omitempty"`   // gRPC (grpc.health.v1)
	Send      []byte        `json:"send,omitempty"`      // UDP: the datagram to send; an empty one when none
	Receive   []byte        `json:"receive,omitempty"`   // UDP: what a good answer has in it; any answer is good when none
	Interval  time.Duration `json:"interval,omitempty"`  // 10 s when 0
	Timeout   time.Duration `json:"timeout,omitempty"`   // 1 s when 0
	Healthy   int           `json:"healthy,omitempty"`   // good answers in a row that bring an endpoint back; 2 when 0
	Unhealthy int           `json:"unhealthy,omitempty"` // bad ones that take it out; 3 when 0
}

// HealthType is how an endpoint is asked.
type HealthType string

const (
	HealthHTTP HealthType = "http"
	HealthGRPC HealthType = "grpc"
	HealthTCP  HealthType = "tcp"
	HealthUDP  HealthType = "udp" // of endpoints that take datagrams alone
)

// CodeRange is a range of HTTP statuses, both ends included.
type CodeRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Connections bounds what a proxy has open to the endpoints of a service. 0 is the default, which is given.
type Connections struct {
	Max            int           `json:"max,omitempty"`            // HTTP/1.1 (in the mesh: its requests under way) and TCP, each proxy and service; no bound
	Requests       int           `json:"requests,omitempty"`       // in flight; no bound
	Pending        int           `json:"pending,omitempty"`        // that wait for a connection or stream; 4,096 for each endpoint
	Retries        int           `json:"retries,omitempty"`        // in flight; no bound
	PerConnection  int           `json:"perConnection,omitempty"`  // requests before a connection is closed; no bound
	Streams        int           `json:"streams,omitempty"`        // on one HTTP/2 connection; what the server allows
	ConnectTimeout time.Duration `json:"connectTimeout,omitempty"` // 3 s
	Idle           time.Duration `json:"idle,omitempty"`           // how long an unused one is kept; 60 s
	MaxAge         time.Duration `json:"maxAge,omitempty"`         // no bound
	TCPIdle        time.Duration `json:"tcpIdle,omitempty"`        // how long a TCP connection may be silent, where its Policy does not say; no bound
	KeepAlive      *KeepAlive    `json:"keepAlive,omitempty"`
	Ping           *Ping         `json:"ping,omitempty"`
	ClientProtocol bool          `json:"clientProtocol,omitempty"` // plain endpoints: HTTP/2 for clients that speak it, HTTP/1.1 for others, whatever the endpoint declares
}

// Ping is keep-alive by HTTP/2 (RFC 9113, section 6.7): a connection whose peer neither answers nor sends anything else is
// closed.
type Ping struct {
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
}

// KeepAlive is TCP's (RFC 9293, section 3.8.4).
type KeepAlive struct {
	Time     time.Duration `json:"time,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
	Probes   int           `json:"probes,omitempty"`
}

// UpstreamTLS is TLS to endpoints outside the mesh (Gateway API, BackendTLSPolicy).
type UpstreamTLS struct {
	Hostname    string       `json:"hostname,omitempty"` // SNI, and whom the certificate must name
	CA          string       `json:"ca,omitempty"`       // PEM; "": the system's
	Names       []string     `json:"names,omitempty"`    // DNS names or URIs, one of which the certificate must have instead
	Certificate *Certificate `json:"certificate,omitempty"`
	Insecure    bool         `json:"insecure,omitempty"` // whoever answers is believed
	CAFile      string       `json:"caFile,omitempty"`   // in place of CA: a file that the proxy reads from its directory of certificates
	Revoked     string       `json:"revoked,omitempty"`  // lists of revoked certificates, PEM; see ParseRevocations
	RevokedFile string       `json:"revokedFile,omitempty"`
	Ports       []uint16     `json:"ports,omitempty"` // of the service, for whose endpoints alone it is; none: all

	// Secret, "NAMESPACE/NAME", has the certificate that is shown: see Snapshot.Secrets.
	Secret    string `json:"secret,omitempty"`
	OfGateway bool   `json:"ofGateway,omitempty"` // a gateway of the mesh shows the certificate of its Gateway: see Snapshot.ClientCertificate
	Invalid   string `json:"invalid,omitempty"`   // why nothing is sent, neither with TLS nor without: a CA is missing
}

// IsZero reports whether nothing is said.
func (b Balance) IsZero() bool {
	return b.Algorithm == "" && len(b.Hash) == 0 && b.TableSize == 0 && b.Decay == 0 && b.WarmUp == 0 && b.WarmUpFrom == nil && b.WarmUpAggression == 0 && b.Panic == 0 && b.Locality == nil
}
