package native

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trafficPolicy is a TrafficPolicy as it is written. docs/reference/trafficpolicy.md describes every field.
type trafficPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              spec `json:"spec"`
}

type spec struct {
	TargetRefs         []targetRef         `json:"targetRefs"`
	Timeouts           *timeouts           `json:"timeouts"`
	Retries            *retries            `json:"retries"`
	Hedging            *hedging            `json:"hedging"`
	Limits             *limits             `json:"limits"`
	Ejection           *ejection           `json:"ejection"`
	RetryAfter         *retryAfter         `json:"retryAfter"`
	HealthCheck        *healthCheck        `json:"healthCheck"`
	LoadBalancing      *loadBalancing      `json:"loadBalancing"`
	Faults             []fault             `json:"faults"`
	RateLimits         []rateLimit         `json:"rateLimits"`
	SessionPersistence *sessionPersistence `json:"sessionPersistence"`
	MirrorDiff         *mirrorDiff         `json:"mirrorDiff"`
	Clients            *clients            `json:"clients"`
	Egress             *egress             `json:"egress"`
	Ports              []portSpec          `json:"ports"`
	Tunnel             *tunnel             `json:"tunnel"`
}

type egress struct {
	Gateway string `json:"gateway"`
}

type clients struct {
	ProxyProtocol *proxyProtocol `json:"proxyProtocol"`
}

type proxyProtocol struct {
	TrustedSources []string `json:"trustedSources"`
	OtherSources   string   `json:"otherSources"`
}

type targetRef struct {
	Group       *string `json:"group"`
	Kind        string  `json:"kind"`
	Name        string  `json:"name"`
	Namespace   *string `json:"namespace"`
	SectionName *string `json:"sectionName"`
}

type timeouts struct {
	Request duration `json:"request"`
	PerTry  duration `json:"perTry"`
	Auth    duration `json:"auth"`
	Idle    duration `json:"idle"`
	Connect duration `json:"connect"`
}

type retries struct {
	Attempts    *int64   `json:"attempts"`
	On          []string `json:"on"`
	StatusCodes []int64  `json:"statusCodes"`
	Backoff     *backoff `json:"backoff"`
	AnyMethod   bool     `json:"anyMethod"`
	Remote      bool     `json:"remoteLocalities"`
	Budget      *budget  `json:"budget"`
}

type backoff struct {
	Base duration `json:"base"`
	Max  duration `json:"max"`
}

type budget struct {
	Percent      percent  `json:"percent"`
	MinPerSecond *float64 `json:"minPerSecond"`
	Window       duration `json:"window"`
}

type hedging struct {
	Delay    duration `json:"delay"`
	Attempts *int64   `json:"attempts"`
}

type fault struct {
	Matches []match     `json:"matches"`
	Delay   *faultDelay `json:"delay"`
	Abort   *faultAbort `json:"abort"`
}

type faultDelay struct {
	Duration duration `json:"duration"`
	Percent  percent  `json:"percent"`
}

type faultAbort struct {
	Status     *int64  `json:"status"`
	GRPCStatus code    `json:"grpcStatus"`
	HTTP2Error *string `json:"http2Error"`
	Percent    percent `json:"percent"`
}

type rateLimit struct {
	Name     string    `json:"name"`
	Matches  []match   `json:"matches"`
	Requests *int64    `json:"requests"`
	Per      duration  `json:"per"`
	Burst    *int64    `json:"burst"`
	Key      *limitKey `json:"key"`
	Status   *int64    `json:"status"`
	Scope    string    `json:"scope"`

	Service *limitService `json:"service"`
}

type limitService struct {
	Name        string            `json:"name"`
	Namespace   *string           `json:"namespace"`
	Port        *int64            `json:"port"`
	Domain      string            `json:"domain"`
	Descriptors []limitDescriptor `json:"descriptors"`
	Hits        *int64            `json:"hits"`
	Timeout     duration          `json:"timeout"`
	FailOpen    *bool             `json:"failOpen"`
}

type limitDescriptor struct {
	Entries []limitEntry `json:"entries"`
}

type limitEntry struct {
	Key      string  `json:"key"`
	Value    *string `json:"value"`
	Header   *string `json:"header"`
	Path     bool    `json:"path"`
	Method   bool    `json:"method"`
	Identity bool    `json:"identity"`
	Source   bool    `json:"source"`
	Optional bool    `json:"optional"`
}

type limitKey struct {
	Identity bool    `json:"identity"`
	Header   *string `json:"header"`
	Source   bool    `json:"source"`
}

type sessionPersistence struct {
	Cookie          *sessionCookie `json:"cookie"`
	Header          *string        `json:"header"`
	AbsoluteTimeout duration       `json:"absoluteTimeout"`
	IdleTimeout     duration       `json:"idleTimeout"`
}

type sessionCookie struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Lifetime string `json:"lifetime"`
}

type mirrorDiff struct {
	Headers []string `json:"headers"`
	MaxBody *int64   `json:"maxBody"`
	Samples *int64   `json:"samples"`
}

type match struct {
	Path        *pathMatch   `json:"path"`
	Method      string       `json:"method"`
	Headers     []valueMatch `json:"headers"`
	QueryParams []valueMatch `json:"queryParams"`
}

type pathMatch struct {
	Type  string  `json:"type"`
	Value *string `json:"value"`
}

type valueMatch struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}
