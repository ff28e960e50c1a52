package document

import (
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Problem returns a problem at a field of the document.
func (d *Document) Problem(f *Field, message string) Problem {
	return d.problemAt(f.locate(d.root, false), f, message)
}

// KeyProblem is Problem, placed at the field's name instead of its value.
func (d *Document) KeyProblem(f *Field, message string) Problem {
	return d.problemAt(f.locate(d.root, true), f, message)
}

func (d *Document) problemAt(n *yaml.Node, f *Field, message string) Problem {
	return Problem{File: d.File, Line: n.Line, Column: n.Column, Field: f.String(), Message: message}
}

// Has reports whether the document has the field.
func (d *Document) Has(f *Field) bool {
	if f == nil {
		return true
	}
	return f.locate(d.root, false) != f.parent.locate(d.root, false)
}

// LineOf returns the line of the field's value, or of the nearest value around it.
func (d *Document) LineOf(f *Field) int { return f.locate(d.root, false).Line }

// header reads and checks what every resource has.
func (d *Document) header() Problems {
	if d.root.Kind != yaml.MappingNode {
		return Problems{d.Problem(nil, "is "+nodeWords(d.root)+", not a resource").with("a resource begins with apiVersion, kind and metadata")}
	}
	var ps Problems
	d.APIVersion = d.text(&ps, Path("apiVersion"), `for example "gateway.networking.k8s.io/v1"`)
	d.Kind = d.text(&ps, Path("kind"), `for example "HTTPRoute"`)
	if !d.Has(Path("metadata")) {
		return append(ps, d.Problem(Path("metadata"), "is missing").with("write metadata with a name"))
	}
	name, namespace := Path("metadata", "name"), Path("metadata", "namespace")
	d.Name = d.text(&ps, name, "every resource has a name")
	d.Namespace = DefaultNamespace
	if d.Has(namespace) {
		d.Namespace = d.text(&ps, namespace, "")
	}
	if d.Name != "" {
		if why := CheckSubdomain(d.Name); why != "" {
			ps = append(ps, d.Problem(name, fmt.Sprintf("%q is no valid name", clip(d.Name, 80))).with(why))
		}
	}
	if d.Namespace != "" {
		if why := CheckLabel(d.Namespace); why != "" {
			ps = append(ps, d.Problem(namespace, fmt.Sprintf("%q is no valid namespace", clip(d.Namespace, 80))).with(why))
		}
	}
	return ps
}

// text returns a string that must be there.
func (d *Document) text(ps *Problems, f *Field, remedy string) string {
	if !d.Has(f) {
		*ps = append(*ps, d.Problem(f, "is missing").with(remedy))
		return ""
	}
	n := f.locate(d.root, false)
	switch {
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		*ps = append(*ps, d.Problem(f, "wants a string, has "+nodeWords(n)).with(quoteRemedy(n)))
		return ""
	case n.Value == "":
		*ps = append(*ps, d.Problem(f, "is empty").with(remedy))
	}
	return n.Value
}

func (p Problem) with(remedy string) Problem {
	p.Remedy = remedy
	return p
}

// With returns p with a remedy.
func (p Problem) With(remedy string) Problem { return p.with(remedy) }

// AsWarning returns p as a warning.
func (p Problem) AsWarning() Problem {
	p.Warning = true
	return p
}

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// CheckLabel returns "" when s is a DNS label (RFC 1123, section 2.1), else what one looks like.
func CheckLabel(s string) string {
	if len(s) > 63 || !dnsLabel.MatchString(s) {
		return "wants at most 63 of a-z, 0-9 and -, with a letter or digit at both ends"
	}
	return ""
}

// CheckSubdomain returns "" when s is a DNS name (RFC 1123, section 2.1), else what one looks like.
func CheckSubdomain(s string) string {
	if len(s) > 253 || !dnsSubdomain.MatchString(s) {
		return "wants at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends of each part"
	}
	return ""
}
