package istio

type istioGateway struct {
	Servers  []server          `json:"servers"`
	Selector map[string]string `json:"selector"`
}

type server struct {
	Port            *gatewayPort `json:"port"`
	Bind            string       `json:"bind"`
	Hosts           []string     `json:"hosts"`
	TLS             *serverTLS   `json:"tls"`
	DefaultEndpoint string       `json:"defaultEndpoint"`
	Name            string       `json:"name"`
}

type gatewayPort struct {
	Number     uint32 `json:"number"`
	Protocol   string `json:"protocol"`
	Name       string `json:"name"`
	TargetPort uint32 `json:"targetPort"`
}

type serverTLS struct {
	HTTPSRedirect         bool             `json:"httpsRedirect"`
	Mode                  string           `json:"mode"`
	ServerCertificate     string           `json:"serverCertificate"`
	PrivateKey            string           `json:"privateKey"`
	CaCertificates        string           `json:"caCertificates"`
	CaCrl                 string           `json:"caCrl"`
	CredentialName        string           `json:"credentialName"`
	CredentialNames       []string         `json:"credentialNames"`
	CaCertCredentialName  string           `json:"caCertCredentialName"`
	TLSCertificates       []tlsCertificate `json:"tlsCertificates"`
	SubjectAltNames       []string         `json:"subjectAltNames"`
	VerifyCertificateSpki []string         `json:"verifyCertificateSpki"`
	VerifyCertificateHash []string         `json:"verifyCertificateHash"`
	MinProtocolVersion    string           `json:"minProtocolVersion"`
	MaxProtocolVersion    string           `json:"maxProtocolVersion"`
	CipherSuites          []string         `json:"cipherSuites"`
	InsecureSkipVerify    *bool            `json:"insecureSkipVerify"`
}

type tlsCertificate struct {
	ServerCertificate string `json:"serverCertificate"`
	PrivateKey        string `json:"privateKey"`
	CaCertificates    string `json:"caCertificates"`
}

type serviceEntry struct {
	Hosts            []string        `json:"hosts"`
	Addresses        []string        `json:"addresses"`
	Ports            []servicePort   `json:"ports"`
	Location         string          `json:"location"`
	Resolution       string          `json:"resolution"`
	Endpoints        []workloadEntry `json:"endpoints"`
	WorkloadSelector *workloadLabels `json:"workloadSelector"`
	ExportTo         []string        `json:"exportTo"`
	SubjectAltNames  []string        `json:"subjectAltNames"`
}

type servicePort struct {
	Number     uint32 `json:"number"`
	Protocol   string `json:"protocol"`
	Name       string `json:"name"`
	TargetPort uint32 `json:"targetPort"`
}

type workloadEntry struct {
	Address        string            `json:"address"`
	Ports          map[string]uint32 `json:"ports"`
	Labels         map[string]string `json:"labels"`
	Network        string            `json:"network"`
	Locality       string            `json:"locality"`
	Weight         uint32            `json:"weight"`
	ServiceAccount string            `json:"serviceAccount"`
}

type sidecar struct {
	WorkloadSelector      *workloadLabels   `json:"workloadSelector"`
	Ingress               []ingressListener `json:"ingress"`
	Egress                []egressListener  `json:"egress"`
	InboundConnectionPool *connectionPool   `json:"inboundConnectionPool"`
	OutboundTrafficPolicy *outboundPolicy   `json:"outboundTrafficPolicy"`
}

type ingressListener struct {
	Port            *sidecarPort    `json:"port"`
	Bind            string          `json:"bind"`
	CaptureMode     string          `json:"captureMode"`
	DefaultEndpoint string          `json:"defaultEndpoint"`
	TLS             *serverTLS      `json:"tls"`
	ConnectionPool  *connectionPool `json:"connectionPool"`
}

type egressListener struct {
	Port        *sidecarPort `json:"port"`
	Bind        string       `json:"bind"`
	CaptureMode string       `json:"captureMode"`
	Hosts       []string     `json:"hosts"`
}

type outboundPolicy struct {
	Mode        string       `json:"mode"`
	EgressProxy *destination `json:"egressProxy"`
}

type sidecarPort struct {
	Number     uint32 `json:"number"`
	Protocol   string `json:"protocol"`
	Name       string `json:"name"`
	TargetPort uint32 `json:"targetPort"`
}
