package gateway

import (
	"fmt"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// modifier reads changes of header fields (Gateway API, HTTPHeaderFilter).
func (c *checker) modifier(m *v1.HTTPHeaderFilter, f *document.Field) model.HeaderMod {
	return model.HeaderMod{
		Set:    c.headerValues(m.Set, f.Key("set")),
		Add:    c.headerValues(m.Add, f.Key("add")),
		Remove: c.headerNames(m.Remove, f.Key("remove")),
	}
}

func (c *checker) headerValues(in []v1.HTTPHeader, f *document.Field) []model.HeaderValue {
	c.atMost(len(in), maxItems, "headers", f)
	seen := map[string]bool{}
	var out []model.HeaderValue
	for i, h := range in {
		at := f.Index(i)
		name := c.changedHeader(string(h.Name), seen, at.Key("name"))
		switch {
		case h.Value == "":
			c.add(at.Key("value"), "is missing or empty", "write the value, or take the header out with remove")
		case len(h.Value) > 4096:
			c.add(at.Key("value"), fmt.Sprintf("has %d bytes, at most 4096 are allowed", len(h.Value)), "")
		case strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.add(at.Key("value"), "has a control character", "a header's value is one line of text")
		}
		out = append(out, model.HeaderValue{Name: name, Value: h.Value})
	}
	return out
}

func (c *checker) headerNames(in []string, f *document.Field) []string {
	c.atMost(len(in), maxItems, "headers", f)
	seen := map[string]bool{}
	var out []string
	for i, h := range in {
		out = append(out, c.changedHeader(h, seen, f.Index(i)))
	}
	return out
}

// changedHeader checks the name of a header to change and returns it in lower case.
func (c *checker) changedHeader(s string, seen map[string]bool, f *document.Field) string {
	name := strings.ToLower(s)
	if !c.headerName(s, f) {
		return name
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "trailer":
		c.add(f, fmt.Sprintf("%q belongs to one connection and cannot be changed", s), "remove it")
	}
	if seen[name] {
		c.add(f, fmt.Sprintf("the header %q is here twice", s), "write it once; names are compared without case")
	}
	seen[name] = true
	return name
}
