package xds

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Names of the resources that are not of a service.
const (
	nameWorkload = "workload"
	nameTaps     = "taps"
	nameGateway  = "gateway"
)

const (
	prefixService   = "service/"
	prefixEndpoints = "endpoints/"
	prefixSecret    = "secret/"
)

// maxNameBytes bounds a resource name: a kind, and two DNS labels or names of at most 253 bytes.
const maxNameBytes = 600

// ServiceResource returns the resource name of a service: "service/NAMESPACE/NAME".
func ServiceResource(n model.ServiceName) string { return prefixService + n.String() }

// EndpointsResource returns the resource name of a service's endpoints: "endpoints/NAMESPACE/NAME".
func EndpointsResource(n model.ServiceName) string { return prefixEndpoints + n.String() }

// parseSubscription reads a name that a proxy subscribes to. A service and its endpoints come together,
// so either name stands for both; "workload", "taps", "gateway" and "secret" come unasked and give ok == false.
func parseSubscription(s string) (n model.ServiceName, ok bool, err error) {
	if len(s) > maxNameBytes {
		return n, false, fmt.Errorf("resource name of %d bytes; at most %d are allowed", len(s), maxNameBytes)
	}
	if s == nameWorkload || s == nameTaps || s == nameGateway || strings.HasPrefix(s, prefixPart) || strings.HasPrefix(s, prefixSecret) {
		return n, false, nil
	}
	text, isService := strings.CutPrefix(s, prefixService)
	if !isService {
		if text, ok = strings.CutPrefix(s, prefixEndpoints); !ok {
			return n, false, fmt.Errorf("resource name %q is not workload, taps, service/NAMESPACE/NAME or endpoints/NAMESPACE/NAME", s)
		}
	}
	if err := n.UnmarshalText([]byte(text)); err != nil {
		return n, false, fmt.Errorf("resource name %q: %w", s, err)
	}
	if n.IsZero() {
		return n, false, fmt.Errorf("resource name %q names no service", s)
	}
	return n, true, nil
}
