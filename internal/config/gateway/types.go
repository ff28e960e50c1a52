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

// Route is a checked HTTPRoute.
type Route struct {
	Namespace string
	Parents   []Parent
	Rules     []Rule
}

// Parent is a service whose requests the route takes.
type Parent struct {
	Service model.ServiceName
	Port    uint16 // 0 means every port
	At      Position
}

// Rule is a rule before its backends are resolved: Backends name what was written.
type Rule struct {
	model.Rule
	BackendAt []Position // of each backend's name
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
}

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
