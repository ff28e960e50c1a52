package gateway

import (
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Position is where a reference was written.
type Position struct {
	Line, Column int
	Field        string
}

// Route is a checked HTTPRoute, GRPCRoute, TLSRoute, TCPRoute or UDPRoute.
type Route struct {
	Namespace string
	Parents   []Parent        // services: in the mesh
	Gateways  []GatewayParent // listeners: at a gateway, standalone or of the mesh
	Hostnames []string        // as written; none means any
	Rules     []Rule

	UseDefaults bool     // default Gateways take it too
	DefaultsAt  Position // of where it says so
}

// Parent is a service whose requests the route takes.
type Parent struct {
	Service model.ServiceName
	Port    uint16 // 0 means every port
	At      Position
}

// ObjectName is the name of a Gateway or Secret.
type ObjectName struct{ Namespace, Name string }

// String returns "namespace/name".
func (n ObjectName) String() string { return n.Namespace + "/" + n.Name }

// GatewayParent is a Gateway or ListenerSet whose listeners the route attaches to.
type GatewayParent struct {
	Kind    string // "Gateway" or "ListenerSet"
	Gateway ObjectName
	Section string // the listener's name; "" means any
	Port    uint16 // 0 means any
	At      Position
}

// Rule is a rule before its backends are resolved: Backends name what was written.
type Rule struct {
	model.Rule
	Name      string     // by which a policy can name it; "" if it has none
	BackendAt []Position // of each backend's name
	MirrorAt  []Position // of each mirror's
	AuthAt    Position   // of the authorization service's, where there is one

	BackendFiltersAt []FiltersAt // of each backend; none for routes whose backends have no filters
}

// Service is a checked core Service: a name for the endpoints with all of its labels.
type Service struct {
	Ports    []ServicePort
	Selector map[string]string // none: the service declares a name only
}

// ServicePort is a port a service is called on.
type ServicePort struct {
	Name string
	model.Port
	At Position
}

// checker collects the problems of one document.
type checker struct {
	doc      *document.Document
	problems document.Problems
	parent   Place // whose requests routes may take
}

// Place says where a route runs, which decides on the parents it may name.
type Place int

// The places of routes.
const (
	InMesh       Place = iota // parents are Services and Gateways
	InStandalone              // parents are Gateways
)

func (c *checker) add(f *document.Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.Problem(f, message).With(remedy))
}

// unsupported reports a field that is right, but not run by this version.
func (c *checker) unsupported(f *document.Field) {
	c.problems = append(c.problems, c.doc.KeyProblem(f, "is not supported in this version of Weft").With("remove it"))
}

func (c *checker) position(f *document.Field) Position {
	p := c.doc.Problem(f, "")
	return Position{Line: p.Line, Column: p.Column, Field: p.Field}
}
