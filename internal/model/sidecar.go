package model

import "fmt"

// Outbound is what becomes of a program's calls to what is no service that its workload sees (Istio, Sidecar,
// outboundTrafficPolicy).
type Outbound struct {
	Ref PolicyRef `json:"ref,omitzero"` // of the Sidecar that says so

	// RegistryOnly means that they are refused. Else they go to Proxy, or where the program sends them.
	RegistryOnly bool `json:"registryOnly,omitempty"`

	Proxy *Backend `json:"proxy,omitempty"` // a service of the mesh, which knows how to go on; its weight is not looked at
}

// CapturesAll reports whether connections to every address have to come by the proxy, and not those to services alone.
func (o *Outbound) CapturesAll() bool { return o != nil && (o.RegistryOnly || o.Proxy != nil) }

// EachUsed calls f with the services that calls go to. o may be nil.
func (o *Outbound) EachUsed(f func(ServiceName)) {
	if o != nil && o.Proxy != nil && o.Proxy.Invalid == "" {
		f(o.Proxy.Service)
	}
}

// String returns "Sidecar default/strict (sidecar.yaml:3)".
func (r PolicyRef) String() string {
	s := r.Kind + " " + r.Namespace + "/" + r.Name
	if r.File != "" {
		s += fmt.Sprintf(" (%s:%d)", r.File, r.Line)
	}
	return s
}
