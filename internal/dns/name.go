package dns

import (
	"context"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// candidate is a service that a name may mean.
type candidate struct {
	service model.ServiceName
	// ours: no other name server knows the name, so an unknown one does not exist.
	ours bool
}

// normalize lowers a name's case and takes off its final dot.
func normalize(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "."), "."))
}

// parse reads a normalized name as a service's name. ok is false for names that can be no service's.
// A service and a namespace are one label each (RFC 1123, as Kubernetes has it).
func (s *Server) parse(name string) (c candidate, ok bool) {
	if rest, found := cutSuffix(name, s.opts.Domain); found {
		service, ok := s.service(rest)
		return candidate{service, true}, ok
	}
	for _, suffix := range []string{"svc.cluster.local", "svc"} {
		if rest, found := cutSuffix(name, suffix); found {
			service, ok := s.service(rest)
			return candidate{service, false}, ok && strings.Contains(rest, ".")
		}
	}
	service, ok := s.service(name)
	return candidate{service, false}, ok
}

// service reads "name" or "name.namespace".
func (s *Server) service(name string) (model.ServiceName, bool) {
	service, namespace, two := strings.Cut(name, ".")
	if !two {
		namespace = s.opts.Namespace
	}
	if !isLabel(service) || !isLabel(namespace) {
		return model.ServiceName{}, false
	}
	return model.ServiceName{Namespace: namespace, Name: service}, true
}

// unsearched returns the name without the search suffix that a resolver appended to it.
func (s *Server) unsearched(name string) (string, bool) {
	for _, suffix := range s.opts.Search {
		if rest, ok := cutSuffix(name, suffix); ok && suffix != "" {
			return rest, true
		}
	}
	// What installers write into resolv.conf for want of a domain; no name server has anything under it.
	return cutSuffix(name, "localdomain")
}

// cutSuffix takes a whole-label suffix off.
func cutSuffix(name, suffix string) (string, bool) {
	rest, ok := strings.CutSuffix(name, "."+suffix)
	return rest, ok && rest != ""
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// host returns the address that stands for a host outside the mesh of which the namespace has made a service, if it
// has. While nobody can tell, the name is one of others.
func (s *Server) host(ctx context.Context, name string) (netip.Addr, bool) {
	if !strings.Contains(name, ".") || len(name) > maxHost {
		return netip.Addr{}, false
	}
	for _, suffix := range []string{s.opts.Domain, "svc.cluster.local", "svc", "localdomain", "arpa", "localhost"} {
		if _, ours := cutSuffix(name, suffix); ours {
			return netip.Addr{}, false
		}
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return netip.Addr{}, false
		}
	}
	vip, known, err := s.opts.Lookup(ctx, model.ServiceName{Namespace: s.opts.Namespace, Name: name})
	return vip, err == nil && known && vip.IsValid()
}

// maxHost is the length of the longest host name (RFC 1123, section 2.1).
const maxHost = 253
