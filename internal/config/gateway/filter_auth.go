package gateway

import (
	"fmt"
	"slices"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// maxAuthHeaders bounds the lists of headers of an ExternalAuth filter (Gateway API, HTTPAuthConfig).
const maxAuthHeaders = 64

// externalAuth reads whom to ask about requests, and what (Gateway API, HTTPExternalAuthFilter).
func (c *checker) externalAuth(in *v1.HTTPExternalAuthFilter, f *document.Field) *model.ExternalAuth {
	out := &model.ExternalAuth{}
	known := []string{string(v1.HTTPRouteExternalAuthGRPCProtocol), string(v1.HTTPRouteExternalAuthHTTPProtocol)}
	switch p := string(in.ExternalAuthProtocol); {
	case p == "":
		c.add(f.Key("protocol"), "is missing", "write GRPC (Envoy's ext_authz) or HTTP")
	case !slices.Contains(known, p):
		c.oneOf(p, known, f.Key("protocol"))
	}
	out.GRPC = in.ExternalAuthProtocol == v1.HTTPRouteExternalAuthGRPCProtocol
	out.Service, out.Port = c.serviceRef(&in.BackendRef, f.Key("backendRef"))
	if in.GRPCAuthConfig != nil {
		if at := f.Key("grpc"); !out.GRPC {
			c.add(at, "is given, but protocol is "+string(in.ExternalAuthProtocol), "write protocol: GRPC or remove it")
		} else {
			out.Request = c.authHeaders(in.GRPCAuthConfig.AllowedRequestHeaders, at.Key("allowedHeaders"))
		}
	}
	if h := in.HTTPAuthConfig; h != nil {
		at := f.Key("http")
		if out.GRPC {
			c.add(at, "is given, but protocol is GRPC", "write protocol: HTTP or remove it")
		}
		out.Request = c.authHeaders(h.AllowedRequestHeaders, at.Key("allowedHeaders"))
		out.Response = c.authHeaders(h.AllowedResponseHeaders, at.Key("allowedResponseHeaders"))
		if h.Path != "" {
			c.newPath(&model.PathChange{Type: model.ChangePrefix, Value: h.Path}, at.Key("path"))
			out.Path = strings.TrimSuffix(h.Path, "/")
		}
	}
	if in.ForwardBody != nil {
		out.MaxBody = int(in.ForwardBody.MaxSize)
	}
	return out
}

// authHeaders wants names of header fields, each once.
func (c *checker) authHeaders(in []string, f *document.Field) []string {
	c.atMost(len(in), maxAuthHeaders, "headers", f)
	var out []string
	for i, name := range in {
		c.headerName(name, f.Index(i))
		if name = strings.ToLower(name); slices.Contains(out, name) {
			c.add(f.Index(i), fmt.Sprintf("%q is here twice", clip(name)), "write it once")
		}
		out = append(out, name)
	}
	return out
}
