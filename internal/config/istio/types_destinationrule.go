package istio

type destinationRule struct {
	Host             string         `json:"host"`
	TrafficPolicy    *trafficPolicy `json:"trafficPolicy"`
	Subsets          []subset       `json:"subsets"`
	ExportTo         []string       `json:"exportTo"`
	WorkloadSelector *matchLabels   `json:"workloadSelector"`
}

type subset struct {
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels"`
	TrafficPolicy *trafficPolicy    `json:"trafficPolicy"`
}

type trafficPolicy struct {
	LoadBalancer      *loadBalancer       `json:"loadBalancer"`
	ConnectionPool    *connectionPool     `json:"connectionPool"`
	OutlierDetection  *outlierDetection   `json:"outlierDetection"`
	TLS               *clientTLS          `json:"tls"`
	PortLevelSettings []portTrafficPolicy `json:"portLevelSettings"`
	Tunnel            *tunnelSettings     `json:"tunnel"`
	ProxyProtocol     *proxyProtocol      `json:"proxyProtocol"`
	RetryBudget       *retryBudget        `json:"retryBudget"`
}

type portTrafficPolicy struct {
	Port             *portSelector     `json:"port"`
	LoadBalancer     *loadBalancer     `json:"loadBalancer"`
	ConnectionPool   *connectionPool   `json:"connectionPool"`
	OutlierDetection *outlierDetection `json:"outlierDetection"`
	TLS              *clientTLS        `json:"tls"`
}

type tunnelSettings struct {
	Protocol   string `json:"protocol"`
	TargetHost string `json:"targetHost"`
	TargetPort uint32 `json:"targetPort"`
}

type proxyProtocol struct {
	Version string `json:"version"`
}

type retryBudget struct {
	Percent             *float64  `json:"percent"`
	MinRetryConcurrency *uint32   `json:"minRetryConcurrency"`
	BudgetInterval      *duration `json:"budgetInterval"`
}

type loadBalancer struct {
	Simple             *string        `json:"simple"`
	ConsistentHash     *hashLB        `json:"consistentHash"`
	LocalityLbSetting  *localityLB    `json:"localityLbSetting"`
	ZoneAwareLbSetting *zoneAwareLB   `json:"zoneAwareLbSetting"`
	WarmupDurationSecs *duration      `json:"warmupDurationSecs"`
	Warmup             *warmupSetting `json:"warmup"`
}

type hashLB struct {
	HTTPHeaderName         *string     `json:"httpHeaderName"`
	HTTPCookie             *httpCookie `json:"httpCookie"`
	UseSourceIP            *bool       `json:"useSourceIp"`
	HTTPQueryParameterName *string     `json:"httpQueryParameterName"`
	RingHash               *ringHash   `json:"ringHash"`
	Maglev                 *magLev     `json:"maglev"`
	MinimumRingSize        *uint64     `json:"minimumRingSize"`
}

type ringHash struct {
	MinimumRingSize *uint64 `json:"minimumRingSize"`
}

type magLev struct {
	TableSize *uint64 `json:"tableSize"`
}

type httpCookie struct {
	Name       string            `json:"name"`
	Path       string            `json:"path"`
	TTL        *duration         `json:"ttl"`
	Attributes []cookieAttribute `json:"attributes"`
}

type cookieAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type warmupSetting struct {
	Duration       *duration `json:"duration"`
	MinimumPercent *float64  `json:"minimumPercent"`
	Aggression     *float64  `json:"aggression"`
}

type localityLB struct {
	Distribute       []localityShare    `json:"distribute"`
	Failover         []localityFailover `json:"failover"`
	FailoverPriority []string           `json:"failoverPriority"`
	Enabled          *bool              `json:"enabled"`
}

type localityShare struct {
	From string            `json:"from"`
	To   map[string]uint32 `json:"to"`
}

type localityFailover struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type zoneAwareLB struct {
	Enabled          *bool              `json:"enabled"`
	Failover         []localityFailover `json:"failover"`
	FailoverPriority []string           `json:"failoverPriority"`
	MinClusterSize   *uint32            `json:"minClusterSize"`
}

type connectionPool struct {
	TCP  *tcpPool  `json:"tcp"`
	HTTP *httpPool `json:"http"`
}

type tcpPool struct {
	MaxConnections        int32         `json:"maxConnections"`
	ConnectTimeout        *duration     `json:"connectTimeout"`
	TCPKeepalive          *tcpKeepalive `json:"tcpKeepalive"`
	MaxConnectionDuration *duration     `json:"maxConnectionDuration"`
	IdleTimeout           *duration     `json:"idleTimeout"`
}

type tcpKeepalive struct {
	Probes   uint32    `json:"probes"`
	Time     *duration `json:"time"`
	Interval *duration `json:"interval"`
}

type httpPool struct {
	HTTP1MaxPendingRequests  int32                `json:"http1MaxPendingRequests"`
	HTTP2MaxRequests         int32                `json:"http2MaxRequests"`
	MaxRequestsPerConnection int32                `json:"maxRequestsPerConnection"`
	MaxRetries               int32                `json:"maxRetries"`
	IdleTimeout              *duration            `json:"idleTimeout"`
	H2UpgradePolicy          string               `json:"h2UpgradePolicy"`
	UseClientProtocol        bool                 `json:"useClientProtocol"`
	MaxConcurrentStreams     int32                `json:"maxConcurrentStreams"`
	HTTP2KeepAlive           *connectionKeepalive `json:"http2KeepAlive"`
}

type connectionKeepalive struct {
	Interval *duration `json:"interval"`
	Timeout  *duration `json:"timeout"`
}

type outlierDetection struct {
	ConsecutiveErrors              int32     `json:"consecutiveErrors"`
	SplitExternalLocalOriginErrors bool      `json:"splitExternalLocalOriginErrors"`
	ConsecutiveLocalOriginFailures *uint32   `json:"consecutiveLocalOriginFailures"`
	ConsecutiveGatewayErrors       *uint32   `json:"consecutiveGatewayErrors"`
	Consecutive5xxErrors           *uint32   `json:"consecutive5xxErrors"`
	Interval                       *duration `json:"interval"`
	BaseEjectionTime               *duration `json:"baseEjectionTime"`
	MaxEjectionPercent             int32     `json:"maxEjectionPercent"`
	MinHealthPercent               int32     `json:"minHealthPercent"`
	OutlierDetectionHTTPErrorCodes []uint32  `json:"outlierDetectionHttpErrorCodes"`
}

type clientTLS struct {
	Mode               string   `json:"mode"`
	ClientCertificate  string   `json:"clientCertificate"`
	PrivateKey         string   `json:"privateKey"`
	CaCertificates     string   `json:"caCertificates"`
	CredentialName     string   `json:"credentialName"`
	SubjectAltNames    []string `json:"subjectAltNames"`
	SNI                string   `json:"sni"`
	InsecureSkipVerify *bool    `json:"insecureSkipVerify"`
	CaCrl              string   `json:"caCrl"`
}
