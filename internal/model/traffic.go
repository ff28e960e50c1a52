package model

import "time"

// Filters are what a rule does to its requests besides choosing a backend. Redirect and Direct answer in place
// of a backend; at most one of them is set.
type Filters struct {
	Redirect *Redirect     `json:"redirect,omitempty"`
	Direct   *DirectAnswer `json:"direct,omitempty"`
	Rewrite  *Rewrite      `json:"rewrite,omitempty"`
	CORS     *CORS         `json:"cors,omitempty"`
	Mirrors  []Mirror      `json:"mirrors,omitempty"`
	Auth     *ExternalAuth `json:"auth,omitempty"`
}

// IsZero reports whether there are none.
func (f *Filters) IsZero() bool {
	return f.Redirect == nil && f.Direct == nil && f.Rewrite == nil && f.CORS == nil && len(f.Mirrors) == 0 && f.Auth == nil
}

// Redirect answers with another place (Gateway API, HTTPRequestRedirectFilter). What is empty stays as the request
// has it.
type Redirect struct {
	Scheme string      `json:"scheme,omitempty"` // "http" or "https"
	Host   string      `json:"host,omitempty"`
	Port   uint16      `json:"port,omitempty"` // 0: that of Scheme if it is given, else the listener's
	Path   *PathChange `json:"path,omitempty"`
	Status int         `json:"status"` // 301, 302, 303, 307 or 308
}

// DirectAnswer is an answer of the rule's own.
type DirectAnswer struct {
	Status int    `json:"status"` // 200 to 599
	Body   string `json:"body,omitempty"`
}

// Rewrite changes where a request goes, not who answers it (Gateway API, HTTPURLRewriteFilter).
type Rewrite struct {
	Host string      `json:"host,omitempty"`
	Path *PathChange `json:"path,omitempty"`
}

// PathChange is a change of a request's path; the query stays.
type PathChange struct {
	Type  PathChangeType `json:"type"`
	Value string         `json:"value"`           // what is put in
	Regex string         `json:"regex,omitempty"` // ChangeRegex: RE2; Value may refer to its groups as \1
	Text  string         `json:"text,omitempty"`  // ChangeText: with what the path begins, in any letter case
}

// PathChangeType is what of a path is replaced.
type PathChangeType string

const (
	ChangeFull   PathChangeType = "full"   // all of it
	ChangePrefix PathChangeType = "prefix" // the prefix that the rule's match asked for
	ChangeRegex  PathChangeType = "regex"  // every match of Regex
	ChangeText   PathChangeType = "text"   // Text, byte by byte (Istio, HTTPRewrite.uri)
)

// CORS answers preflights and marks answers as the Fetch standard has it (Gateway API, HTTPCORSFilter). "*" in a
// list allows everything.
type CORS struct {
	Origins     []ValueMatch  `json:"origins,omitempty"` // of the field origin; Name is empty; Exact may hold one "*"
	Methods     []string      `json:"methods,omitempty"`
	Headers     []string      `json:"headers,omitempty"`
	Expose      []string      `json:"expose,omitempty"`
	MaxAge      time.Duration `json:"maxAge,omitempty"` // 0: not said
	Credentials bool          `json:"credentials,omitempty"`
	Forward     bool          `json:"forward,omitempty"` // preflights of other origins go to the backend
}

// Mirror sends a copy of a share of the requests to another service and drops the answers.
type Mirror struct {
	Service ServiceName       `json:"service"`
	Port    uint16            `json:"port,omitempty"`
	Share   float64           `json:"share"`             // 0 to 1
	Invalid string            `json:"invalid,omitempty"` // why the reference does not resolve: nothing is sent
	Subset  map[string]string `json:"subset,omitempty"`  // only endpoints with these labels
}

// Policy is how requests are protected: of a rule, or of a service for all rules that do not say otherwise. Zero
// fields say nothing.
type Policy struct {
	Ref PolicyRef `json:"ref,omitzero"`

	Timeout        time.Duration `json:"timeout,omitempty"`        // from the request's head to the end of the answer, retries included
	BackendTimeout time.Duration `json:"backendTimeout,omitempty"` // of each try, to the end of its answer
	IdleTimeout    time.Duration `json:"idleTimeout,omitempty"`    // without a byte in either direction
	AuthTimeout    time.Duration `json:"authTimeout,omitempty"`    // of a question to an authorization service; AuthTimeout when 0
	NoTimeout      bool          `json:"noTimeout,omitempty"`      // Timeout was written as 0: none, whatever others say

	Retry   *Retry      `json:"retry,omitempty"`
	Hedge   *Hedge      `json:"hedge,omitempty"`
	Faults  []Fault     `json:"faults,omitempty"` // the first that applies
	Limits  []RateLimit `json:"rateLimits,omitempty"`
	Session *Session    `json:"session,omitempty"`

	MirrorDiff *MirrorDiff `json:"mirrorDiff,omitempty"` // of the rule's mirrors
}

// MirrorDiff compares the answers of mirrors with those of the backends: status, gRPC status, some headers and content.
type MirrorDiff struct {
	Headers []string `json:"headers,omitempty"` // in lower case
	MaxBody int      `json:"maxBody"`           // bytes of content that are compared; 0: content is not looked at
	Samples int      `json:"samples"`           // answers that differ, in a minute at each event loop, of which the log says in what
}

// PolicyRef says where a policy was written.
type PolicyRef struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
}

// Retry is when and how often a request is tried again.
type Retry struct {
	Attempts   int           `json:"attempts"`             // beyond the first; 0 to 10
	On         []RetryOn     `json:"on,omitempty"`         // none: RetryConnect and RetryRefused
	Codes      []int         `json:"codes,omitempty"`      // statuses, besides On
	AnyMethod  bool          `json:"anyMethod,omitempty"`  // also methods that may not be repeated (RFC 9110, section 9.2.2)
	Backoff    time.Duration `json:"backoff,omitempty"`    // before the first retry; 25 ms when 0
	MaxBackoff time.Duration `json:"maxBackoff,omitempty"` // 10 times Backoff when 0
	Elsewhere  bool          `json:"elsewhere,omitempty"`  // prefer endpoints that were not tried
	Remote     bool          `json:"remote,omitempty"`     // prefer localities that were not tried
}

// RetryOn is a condition on which a request is tried again.
type RetryOn string

const (
	RetryConnect      RetryOn = "connect-failure"    // no connection came to be
	RetryRefused      RetryOn = "refused-stream"     // the server said that it had not begun
	RetryReset        RetryOn = "reset"              // the connection broke before an answer
	RetryGatewayError RetryOn = "gateway-error"      // 502, 503, 504
	Retry5xx          RetryOn = "5xx"                // 500 to 599, and what the four above say
	Retry4xx          RetryOn = "retriable-4xx"      // 409
	RetryTimeout      RetryOn = "timeout"            // BackendTimeout ended the try
	RetryCancelled    RetryOn = "cancelled"          // the gRPC statuses of these names
	RetryDeadline     RetryOn = "deadline-exceeded"  //
	RetryInternal     RetryOn = "internal"           //
	RetryExhausted    RetryOn = "resource-exhausted" //
	RetryUnavailable  RetryOn = "unavailable"        //
	RetryRateLimited  RetryOn = "envoy-ratelimited"  // a rate limit said no
	RetryHTTP3        RetryOn = "http3-post-connect-failure"
)

// RetryBudget bounds the retries of a service to a share of its requests.
type RetryBudget struct {
	Ratio        float64       `json:"ratio"`                  // retries for each request, 0 to 1
	MinPerSecond float64       `json:"minPerSecond,omitempty"` // that are always allowed
	MinInFlight  int           `json:"minInFlight,omitempty"`  // retries at a time that are always allowed
	Window       time.Duration `json:"window,omitempty"`       // over which requests count; 10 s when 0
}

// Hedge sends a second try when the first is slow, and takes the answer that comes first.
type Hedge struct {
	Delay    time.Duration `json:"delay"`
	Attempts int           `json:"attempts"` // beyond the first; 1 to 3
}

// Fault is a failure made on purpose, for a share of the requests that match.
type Fault struct {
	Matches    []Match       `json:"matches,omitempty"` // none means every request
	Delay      time.Duration `json:"delay,omitempty"`
	DelayShare float64       `json:"delayShare,omitempty"` // 0 to 1
	Status     int           `json:"status,omitempty"`     // HTTP status of the answer; 0: none
	GRPC       string        `json:"grpc,omitempty"`       // number of the gRPC status, in place of Status
	Reset      uint32        `json:"reset,omitempty"`      // code of HTTP/2 (RFC 9113, section 7), in place of both: the stream is reset by it, a connection of HTTP/1.1 cut
	AbortShare float64       `json:"abortShare,omitempty"`
}

// RateLimit bounds how many requests pass.
type RateLimit struct {
	Name     string        `json:"name"`
	Domain   string        `json:"domain,omitempty"`  // limits of one Domain and Name share their counters; "": those of one Policy.Ref
	Matches  []Match       `json:"matches,omitempty"` // which requests count; none means every one
	Requests uint32        `json:"requests"`          // 0 with Service
	Per      time.Duration `json:"per"`               // of Requests: 1 s to 24 h; 0 with Service
	Burst    uint32        `json:"burst,omitempty"`   // how many may come at once; Requests when 0
	Key      LimitKey      `json:"key,omitzero"`      // a bucket for each value; zero: one for all
	Status   int           `json:"status,omitempty"`  // of the answer; 429 when 0
	Global   bool          `json:"global,omitempty"`  // one bucket for all proxies, from which they lease; see resilience.Tenant
	Service  *LimitService `json:"service,omitempty"` // that is asked, in place of a count
}

// LimitKey is what requests are counted by. At most one is set.
type LimitKey struct {
	Identity bool   `json:"identity,omitempty"` // the client's SPIFFE ID, or its address where it has none
	Header   string `json:"header,omitempty"`   // in lower case
	Source   bool   `json:"source,omitempty"`   // the client's address
}

// Session keeps a client with the endpoint that served it first (Gateway API, SessionPersistence).
type Session struct {
	Cookie   string        `json:"cookie,omitempty"` // name of the cookie, or
	Header   string        `json:"header,omitempty"` // of the header
	Path     string        `json:"path,omitempty"`   // of the cookie
	Absolute time.Duration `json:"absolute,omitempty"`
	Idle     time.Duration `json:"idle,omitempty"`
	Keep     bool          `json:"keep,omitempty"` // the cookie outlives the client's session, for Absolute
}
