package native

// What follows is of the endpoints of a Service.

type limits struct {
	Connections           *int64          `json:"connections"`
	Requests              *int64          `json:"requests"`
	Pending               *int64          `json:"pending"`
	Retries               *int64          `json:"retries"`
	RequestsPerConnection *int64          `json:"requestsPerConnection"`
	StreamsPerConnection  *int64          `json:"streamsPerConnection"`
	MaxConnectionAge      duration        `json:"maxConnectionAge"`
	MaxConnectionIdle     duration        `json:"maxConnectionIdle"`
	TCPKeepalive          *tcpKeepalive   `json:"tcpKeepalive"`
	HTTP2Keepalive        *http2Keepalive `json:"http2Keepalive"`
	ClientProtocol        bool            `json:"clientProtocol"`
}

type http2Keepalive struct {
	Interval duration `json:"interval"`
	Timeout  duration `json:"timeout"`
}

type tcpKeepalive struct {
	Time     duration `json:"time"`
	Interval duration `json:"interval"`
	Probes   *int64   `json:"probes"`
}

type ejection struct {
	Consecutive5xx           *int64       `json:"consecutive5xx"`
	ConsecutiveGatewayErrors *int64       `json:"consecutiveGatewayErrors"`
	ConsecutiveLocalErrors   *int64       `json:"consecutiveLocalErrors"`
	StatusCodes              []int64      `json:"statusCodes"`
	SuccessRate              *successRate `json:"successRate"`
	Penalty                  *penalty     `json:"penalty"`
	MaxEjected               percent      `json:"maxEjected"`
	MinHealthy               percent      `json:"minHealthy"`
}

type successRate struct {
	Below       percent  `json:"below"`
	MinRequests *int64   `json:"minRequests"`
	Window      duration `json:"window"`
}

type penalty struct {
	Base duration `json:"base"`
	Max  duration `json:"max"`
}

type retryAfter struct {
	Max duration `json:"max"`
}

type healthCheck struct {
	HTTP      *httpCheck `json:"http"`
	GRPC      *grpcCheck `json:"grpc"`
	TCP       *tcpCheck  `json:"tcp"`
	UDP       *udpCheck  `json:"udp"`
	Interval  duration   `json:"interval"`
	Timeout   duration   `json:"timeout"`
	Healthy   *int64     `json:"healthy"`
	Unhealthy *int64     `json:"unhealthy"`
}

type httpCheck struct {
	Path     string `json:"path"`
	Host     string `json:"host"`
	Statuses []code `json:"statuses"`
}

type grpcCheck struct {
	Service string `json:"service"`
}

type tcpCheck struct{}

type udpCheck struct {
	Send    string `json:"send"`
	Receive string `json:"receive"`
}

type loadBalancing struct {
	Algorithm        string    `json:"algorithm"`
	Hash             []hashKey `json:"hash"`
	TableSize        *int64    `json:"tableSize"`
	Decay            duration  `json:"decay"`
	WarmUp           duration  `json:"warmUp"`
	WarmUpFrom       percent   `json:"warmUpFrom"`
	WarmUpAggression *float64  `json:"warmUpAggression"`
	PanicThreshold   percent   `json:"panicThreshold"`
	Locality         *locality `json:"locality"`
}

type hashKey struct {
	Header *string     `json:"header"`
	Cookie *hashCookie `json:"cookie"`
	Source bool        `json:"source"`
	Query  *string     `json:"query"`
}

type hashCookie struct {
	Name string   `json:"name"`
	TTL  duration `json:"ttl"`
	Path string   `json:"path"`

	Attributes []cookieAttribute `json:"attributes"`
}

type cookieAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type locality struct {
	Prefer           *bool        `json:"prefer"`
	Failover         []failover   `json:"failover"`
	Priorities       []string     `json:"priorities"`
	Distribute       []distribute `json:"distribute"`
	Overprovisioning percent      `json:"overprovisioning"`
}

type failover struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type distribute struct {
	From string             `json:"from"`
	To   map[string]percent `json:"to"`
}
