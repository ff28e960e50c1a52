package istio

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
)

// Position is where a name was written.
type Position = gateway.Position

// ObjectName names a Gateway, a VirtualService or a Secret.
type ObjectName = gateway.ObjectName

// checker collects the problems of one document.
type checker struct {
	doc      *document.Document
	problems document.Problems
}

// parse reads a document into its struct. ok is false when it must not be looked at further.
func parse[T any](d *document.Document) (c *checker, spec *T, ok bool) {
	c = &checker{doc: d}
	var in resource[T]
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return c, nil, false
	}
	if at := document.Path("spec"); !d.Has(at) {
		c.add(at, "is missing", "write spec with the fields of a "+d.Kind)
		return c, nil, false
	}
	return c, &in.Spec, true
}

func (c *checker) add(f *document.Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.Problem(f, message).With(remedy))
}

// refuse reports a field of Istio's that Weft does not honour, with the reason that Fields has.
func (c *checker) refuse(f *document.Field, name string) {
	message, remedy := refusal(name)
	c.problems = append(c.problems, c.doc.KeyProblem(f, message).With(remedy))
}

// idle warns of a field that is without effect, with the reason that Fields has.
func (c *checker) idle(f *document.Field, name string) {
	c.problems = append(c.problems, c.doc.KeyProblem(f, idleness(name)).With("remove it").AsWarning())
}

// refuseAny refuses those of the fields of f that are there. prefix is the name of Istio's message.
func (c *checker) refuseAny(f *document.Field, prefix string, names ...string) {
	for _, n := range names {
		if at := f.Key(n); c.doc.Has(at) {
			c.refuse(at, prefix+"."+n)
		}
	}
}

// idleAny warns of those of the fields of f that are there.
func (c *checker) idleAny(f *document.Field, prefix string, names ...string) {
	for _, n := range names {
		if at := f.Key(n); c.doc.Has(at) {
			c.idle(at, prefix+"."+n)
		}
	}
}

// oneOf reports whether at most one of the fields of f is there, and that more are a problem.
func (c *checker) oneOf(f *document.Field, names ...string) bool {
	var have []string
	for _, n := range names {
		if c.doc.Has(f.Key(n)) {
			have = append(have, n)
		}
	}
	if len(have) > 1 {
		c.add(f.Key(have[1]), fmt.Sprintf("stands beside %s, and only one of %s may be there", have[0], strings.Join(names, ", ")), "remove one of them")
	}
	return len(have) <= 1
}

// enum reports whether s is one of the known values; "" is the first.
func (c *checker) enum(s *string, known []string, f *document.Field) bool {
	if *s == "" {
		*s = known[0]
	}
	for _, k := range known {
		if *s == k {
			return true
		}
	}
	c.add(f, fmt.Sprintf("unknown value %q", clip(*s)), document.DidYouMean(*s, known))
	return false
}

func (c *checker) position(f *document.Field) Position {
	p := c.doc.Problem(f, "")
	return Position{Line: p.Line, Column: p.Column, Field: p.Field}
}

func (c *checker) port(n uint32, f *document.Field) uint16 {
	if n > 65535 {
		c.add(f, fmt.Sprintf("wants a port 1 to 65535, has %d", n), "")
		return 0
	}
	return uint16(n)
}

// wantedPort is port for one that must be there.
func (c *checker) wantedPort(n uint32, f *document.Field) uint16 {
	if n == 0 {
		c.add(f, "wants a port 1 to 65535", "")
	}
	return c.port(n, f)
}

func (c *checker) regexp(s string, f *document.Field) bool {
	const most = 1024
	if len(s) > most {
		c.add(f, fmt.Sprintf("has %d bytes, at most %d are allowed", len(s), most), "")
		return false
	}
	if _, err := regexp.Compile(s); err != nil {
		c.add(f, fmt.Sprintf("not a regular expression: %v", err), "the syntax is RE2's")
		return false
	}
	return true
}

// atMost bounds lists, so that a document of a mebibyte cannot become a table of many.
func (c *checker) atMost(n, most int, what string, f *document.Field) {
	if n > most {
		c.add(f, fmt.Sprintf("has %d %s, at most %d are allowed", n, what, most), "")
	}
}

// Bounds of a document's lists.
const (
	maxHosts    = 256
	maxRoutes   = 1024
	maxMatches  = 256
	maxItems    = 128 // destinations, conditions, header changes, subsets' labels
	maxServers  = 64
	maxEntries  = 4096 // endpoints
	maxMirrors  = 8
	maxAttempts = 10
)

// hosts checks the hosts of a VirtualService, a Gateway's server or a ServiceEntry.
func (c *checker) hosts(names []string, f *document.Field) []Host {
	if len(names) == 0 {
		c.add(f, "names no host", "write at least one host")
	}
	c.atMost(len(names), maxHosts, "hosts", f)
	var out []Host
	seen := map[string]bool{}
	for i, n := range names {
		at := f.Index(i)
		if !c.host(n, at) {
			continue
		}
		if n = strings.ToLower(n); seen[n] {
			c.add(at, fmt.Sprintf("the host %q is here twice", n), "name it once")
			continue
		}
		seen[n] = true
		out = append(out, Host{Name: n, At: c.position(at)})
	}
	return out
}

// host checks a DNS name, "*." and one, or "*".
func (c *checker) host(s string, f *document.Field) bool {
	rest := strings.ToLower(strings.TrimPrefix(s, "*."))
	why := document.CheckSubdomain(rest)
	switch {
	case s == "*":
		return true
	case s == "":
		c.add(f, "is missing or empty", "write a host")
	case strings.Count(rest, ".") == 3 && strings.Trim(rest, "0123456789.") == "":
		c.add(f, fmt.Sprintf("%q is an IP address", clip(s)), "write a host name")
	case strings.Contains(rest, "*"):
		c.add(f, fmt.Sprintf("%q has a wildcard that is not the first label", clip(s)), `write "*." before a name`)
	case why != "":
		c.add(f, fmt.Sprintf("%q is no valid host name", clip(s)), why)
	default:
		return true
	}
	return false
}

// exportTo reads the namespaces that see a resource: nil is all of them.
func (c *checker) exportTo(names []string, f *document.Field) []string {
	var out []string
	all := len(names) == 0
	for i, n := range names {
		switch at := f.Index(i); {
		case n == "*":
			all = true
		case n == ".":
			out = append(out, c.doc.Namespace)
		case document.CheckLabel(n) != "":
			c.add(at, fmt.Sprintf("%q is no namespace", clip(n)), `write ".", "*" or a namespace`)
		default:
			out = append(out, n)
		}
	}
	if all {
		return nil
	}
	return out
}

// labels checks the labels of a selector or an endpoint.
func (c *checker) labels(in map[string]string, f *document.Field) {
	c.atMost(len(in), maxItems, "labels", f)
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if v := in[k]; k == "" || len(k) > 317 || len(v) > 63 {
			c.add(f.Key(k), fmt.Sprintf("%q: %q is no label", clip(k), clip(v)), "names have at most 317 characters, values 63")
		}
	}
}
