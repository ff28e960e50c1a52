package istio

type virtualService struct {
	Hosts    []string    `json:"hosts"`
	Gateways []string    `json:"gateways"`
	HTTP     []httpRoute `json:"http"`
	TLS      []tlsRoute  `json:"tls"`
	TCP      []tcpRoute  `json:"tcp"`
	ExportTo []string    `json:"exportTo"`
}

type httpRoute struct {
	Name             string              `json:"name"`
	Match            []httpMatch         `json:"match"`
	Route            []httpDestination   `json:"route"`
	Redirect         *httpRedirect       `json:"redirect"`
	DirectResponse   *httpDirectResponse `json:"directResponse"`
	Delegate         *delegate           `json:"delegate"`
	Rewrite          *httpRewrite        `json:"rewrite"`
	Timeout          *duration           `json:"timeout"`
	Retries          *httpRetry          `json:"retries"`
	Fault            *httpFault          `json:"fault"`
	Mirror           *destination        `json:"mirror"`
	Mirrors          []httpMirror        `json:"mirrors"`
	MirrorPercent    *uint32             `json:"mirrorPercent"`
	MirrorPercentage *percent            `json:"mirrorPercentage"`
	CorsPolicy       *corsPolicy         `json:"corsPolicy"`
	Headers          *headers            `json:"headers"`
}

type delegate struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type headers struct {
	Request  *headerOperations `json:"request"`
	Response *headerOperations `json:"response"`
}

type headerOperations struct {
	Set    map[string]string `json:"set"`
	Add    map[string]string `json:"add"`
	Remove []string          `json:"remove"`
}

type tlsRoute struct {
	Match []tlsMatch         `json:"match"`
	Route []routeDestination `json:"route"`
}

type tcpRoute struct {
	Match []l4Match          `json:"match"`
	Route []routeDestination `json:"route"`
}

type httpMatch struct {
	Name            string                 `json:"name"`
	URI             *stringMatch           `json:"uri"`
	Scheme          *stringMatch           `json:"scheme"`
	Method          *stringMatch           `json:"method"`
	Authority       *stringMatch           `json:"authority"`
	Headers         map[string]stringMatch `json:"headers"`
	Port            uint32                 `json:"port"`
	SourceLabels    map[string]string      `json:"sourceLabels"`
	Gateways        []string               `json:"gateways"`
	QueryParams     map[string]stringMatch `json:"queryParams"`
	IgnoreURICase   bool                   `json:"ignoreUriCase"`
	WithoutHeaders  map[string]stringMatch `json:"withoutHeaders"`
	SourceNamespace string                 `json:"sourceNamespace"`
	StatPrefix      string                 `json:"statPrefix"`
}

type httpDestination struct {
	Destination destination `json:"destination"`
	Weight      int32       `json:"weight"`
	Headers     *headers    `json:"headers"`
}

type routeDestination struct {
	Destination destination `json:"destination"`
	Weight      int32       `json:"weight"`
}

type l4Match struct {
	DestinationSubnets []string          `json:"destinationSubnets"`
	Port               uint32            `json:"port"`
	SourceSubnet       string            `json:"sourceSubnet"`
	SourceLabels       map[string]string `json:"sourceLabels"`
	Gateways           []string          `json:"gateways"`
	SourceNamespace    string            `json:"sourceNamespace"`
}

type tlsMatch struct {
	SNIHosts           []string          `json:"sniHosts"`
	DestinationSubnets []string          `json:"destinationSubnets"`
	Port               uint32            `json:"port"`
	SourceLabels       map[string]string `json:"sourceLabels"`
	Gateways           []string          `json:"gateways"`
	SourceNamespace    string            `json:"sourceNamespace"`
}

type httpRedirect struct {
	URI           string  `json:"uri"`
	Authority     string  `json:"authority"`
	Port          *uint32 `json:"port"`
	DerivePort    *string `json:"derivePort"`
	Scheme        string  `json:"scheme"`
	RedirectCode  uint32  `json:"redirectCode"`
	PrefixRewrite string  `json:"prefixRewrite"`
}

type httpDirectResponse struct {
	Status uint32    `json:"status"`
	Body   *httpBody `json:"body"`
}

type httpBody struct {
	String *string `json:"string"`
	Bytes  *string `json:"bytes"` // in base64
}

type httpRewrite struct {
	URI             string        `json:"uri"`
	Authority       string        `json:"authority"`
	URIRegexRewrite *regexRewrite `json:"uriRegexRewrite"`
}

type regexRewrite struct {
	Match   string `json:"match"`
	Rewrite string `json:"rewrite"`
}

type httpRetry struct {
	Attempts                 int32     `json:"attempts"`
	PerTryTimeout            *duration `json:"perTryTimeout"`
	RetryOn                  string    `json:"retryOn"`
	RetryRemoteLocalities    *bool     `json:"retryRemoteLocalities"`
	RetryIgnorePreviousHosts *bool     `json:"retryIgnorePreviousHosts"`
	Backoff                  *duration `json:"backoff"`
}

type corsPolicy struct {
	AllowOrigin         []string      `json:"allowOrigin"`
	AllowOrigins        []stringMatch `json:"allowOrigins"`
	AllowMethods        []string      `json:"allowMethods"`
	AllowHeaders        []string      `json:"allowHeaders"`
	ExposeHeaders       []string      `json:"exposeHeaders"`
	MaxAge              *duration     `json:"maxAge"`
	AllowCredentials    *bool         `json:"allowCredentials"`
	UnmatchedPreflights string        `json:"unmatchedPreflights"`
}

type httpFault struct {
	Delay *faultDelay `json:"delay"`
	Abort *faultAbort `json:"abort"`
}

type faultDelay struct {
	Percent          int32     `json:"percent"`
	FixedDelay       *duration `json:"fixedDelay"`
	ExponentialDelay *duration `json:"exponentialDelay"`
	Percentage       *percent  `json:"percentage"`
}

type faultAbort struct {
	HTTPStatus *int32   `json:"httpStatus"`
	GRPCStatus *string  `json:"grpcStatus"`
	HTTP2Error *string  `json:"http2Error"`
	Percentage *percent `json:"percentage"`
}

type httpMirror struct {
	Destination destination `json:"destination"`
	Percentage  *percent    `json:"percentage"`
}
