package model

// Snapshot is everything one proxy runs: the product of compile and scope. Two equal snapshots make
// two proxies behave alike.
type Snapshot struct {
	Revision    int64     `json:"revision"` // of the mesh it was compiled from
	TrustDomain string    `json:"trustDomain"`
	Workload    Workload  `json:"workload"`
	Services    []Service `json:"services,omitempty"` // what the workload calls, by name
	Sockets     []Socket  `json:"sockets,omitempty"`  // gateways only

	// ClientCertificate is what a gateway of the mesh shows where UpstreamTLS.OfGateway is set.
	ClientCertificate *Certificate `json:"clientCertificate,omitempty"`

	// Secrets are the certificates that UpstreamTLS.Secret names, of those that are for this proxy.
	Secrets map[string]Certificate `json:"secrets,omitempty"`
}

// Workload is the program (or programs) a proxy serves.
type Workload struct {
	ID       string            `json:"id"` // unique in the mesh; the endpoint's ID too
	Identity Identity          `json:"identity,omitzero"`
	Service  ServiceName       `json:"service,omitzero"`
	Labels   map[string]string `json:"labels,omitempty"`
	Inbound  []Inbound         `json:"inbound,omitempty"`
	Egress   bool              `json:"egress,omitempty"` // the proxy is a gateway by which others leave the mesh
	Policy   *Policy           `json:"policy,omitempty"` // of requests that come in: rate limits

	Outbound *Outbound `json:"outbound,omitempty"` // nil: what is no service is none of the proxy's business
}

// Inbound maps a service port to the program's own port.
type Inbound struct {
	ServicePort uint16   `json:"servicePort"`
	Port        uint16   `json:"port"`
	Protocol    Protocol `json:"protocol,omitempty"`

	Connections *Connections `json:"connections,omitempty"` // bounds of what comes in by the mesh for the port; nil: none
}

// Label returns a label of the workload. Every workload has the label app: the name of its service.
func (w *Workload) Label(name string) (string, bool) {
	if v, ok := w.Labels[name]; ok || name != "app" || w.Service.Name == "" {
		return v, ok
	}
	return w.Service.Name, true
}

// HasLabels reports whether the workload has all of the labels.
func (w *Workload) HasLabels(want map[string]string) bool {
	for name, value := range want {
		if v, ok := w.Label(name); !ok || v != value {
			return false
		}
	}
	return true
}

// Namespace is the workload's: of its service, or of its identity.
func (w *Workload) Namespace() string {
	if w.Service.Namespace != "" {
		return w.Service.Namespace
	}
	if w.Identity.Namespace != "" {
		return w.Identity.Namespace
	}
	return "default"
}
