package local

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Port is a port of the program and the one that others call it by.
type Port struct {
	Service  uint16 // as others call it
	Program  uint16 // as the program listens
	Protocol model.Protocol
}

// ParsePort reads [SERVICE_PORT:]PORT[/PROTOCOL].
func ParsePort(s string) (Port, error) {
	bad := func(why string) (Port, error) {
		return Port{}, fmt.Errorf("--port %q: %s; want [SERVICE_PORT:]PORT[/PROTOCOL], as 80:8080/http", clip(s), why)
	}
	ports, protocol, hasProtocol := strings.Cut(s, "/")
	var p Port
	var err error
	if hasProtocol {
		if p.Protocol, err = model.ParseProtocol(protocol); err != nil {
			return bad(err.Error())
		}
		if protocol == "" {
			return bad("no protocol after /")
		}
	}
	service, program, two := strings.Cut(ports, ":")
	if !two {
		program = service
	}
	if p.Service, err = parsePort(service); err != nil {
		return bad("service port " + err.Error())
	}
	if p.Program, err = parsePort(program); err != nil {
		return bad("port " + err.Error())
	}
	return p, nil
}

// String returns what ParsePort reads.
func (p Port) String() string {
	s := fmt.Sprintf("%d:%d", p.Service, p.Program)
	if p.Protocol != model.Auto {
		s += "/" + string(p.Protocol)
	}
	return s
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a number from 1 to 65535", clip(s))
	}
	return uint16(n), nil
}

// Upstream is a service that the program reaches by a local port.
type Upstream struct {
	Service model.ServiceName
	Port    uint16
	Local   uint16 // 0 is any free one
}

// ParseUpstream reads SERVICE[.NAMESPACE][:PORT][=LOCALPORT]; the port is 80 and the namespace the given one
// where they are left out.
func ParseUpstream(s, namespace string) (Upstream, error) {
	bad := func(why string) (Upstream, error) {
		return Upstream{}, fmt.Errorf("--upstream %q: %s; want SERVICE[.NAMESPACE][:PORT][=LOCALPORT], as ratings.default:9080=9081", clip(s), why)
	}
	u := Upstream{Port: 80}
	rest, local, ok := strings.Cut(s, "=")
	var err error
	if ok && local != "0" {
		if u.Local, err = parsePort(local); err != nil {
			return bad("local port " + err.Error())
		}
	}
	name, port, ok := strings.Cut(rest, ":")
	if ok {
		if u.Port, err = parsePort(port); err != nil {
			return bad("port " + err.Error())
		}
	}
	service, ns, ok := strings.Cut(name, ".")
	if !ok {
		ns = namespace
	}
	if !validLabel.MatchString(service) {
		return bad("service name must be 1 to 63 of a-z 0-9 and -")
	}
	if !validLabel.MatchString(ns) {
		return bad("namespace must be 1 to 63 of a-z 0-9 and -")
	}
	u.Service = model.ServiceName{Namespace: ns, Name: service}
	return u, nil
}

// Key names the upstream as the proxy does: service.namespace:port.
func (u Upstream) Key() string {
	return fmt.Sprintf("%s.%s:%d", u.Service.Name, u.Service.Namespace, u.Port)
}

// validLabelKey is a Kubernetes label key, with its optional prefix; values have the same letters.
var (
	validLabelKey   = regexp.MustCompile(`^([a-z0-9][-a-z0-9.]{0,251}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	validLabelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

// ParseLabel reads KEY=VALUE with the letters that Kubernetes allows.
func ParseLabel(s string) (key, value string, err error) {
	key, value, ok := strings.Cut(s, "=")
	switch {
	case !ok:
		return "", "", fmt.Errorf("--label %q: want KEY=VALUE", clip(s))
	case !validLabelKey.MatchString(key):
		return "", "", fmt.Errorf("--label %q: key %q is not 1 to 63 of letters, digits and - _ . inside", clip(s), clip(key))
	case !validLabelValue.MatchString(value):
		return "", "", fmt.Errorf("--label %q: value %q is not 0 to 63 of letters, digits and - _ . inside", clip(s), clip(value))
	}
	return key, value, nil
}
