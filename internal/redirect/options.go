package redirect

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
)

// Options says what is captured and where to.
type Options struct {
	Name     string         // of this run, unique on the machine: letters, digits, - _ .; at most 128 bytes
	VIPs     netip.Prefix   // IPv4; TCP to it is captured. 240.240.0.0/15 if unset
	Outbound netip.AddrPort // IPv4 loopback address of the proxy's capture listener
	DNS      netip.AddrPort // IPv4 loopback address of the responder; unset leaves DNS alone
	Logger   *slog.Logger   // required
}

// DefaultVIPs is where virtual addresses come from: a part of 240.0.0.0/4, which is reserved (RFC 1112,
// section 4) and therefore in use nowhere.
func DefaultVIPs() netip.Prefix { return netip.MustParsePrefix("240.240.0.0/15") }

var validName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

func (o *Options) setDefaults() {
	if !o.VIPs.IsValid() {
		o.VIPs = DefaultVIPs()
	}
}

func (o *Options) validate() error {
	switch {
	case !validName.MatchString(o.Name):
		return fmt.Errorf("capture name %.140q: want 1 to 128 letters, digits, dashes, dots or underscores", o.Name)
	case !o.VIPs.Addr().Is4() || o.VIPs.Bits() < 4:
		return fmt.Errorf("virtual addresses %s: want an IPv4 prefix of at least 4 bits", o.VIPs)
	case o.Logger == nil:
		return errors.New("capture needs a logger")
	}
	return nil
}

func validateTargets(outbound, dns netip.AddrPort) error {
	if !outbound.Addr().Is4() || outbound.Port() == 0 {
		return fmt.Errorf("capture listener %s: want an IPv4 address and a port", outbound)
	}
	if dns.IsValid() && (!dns.Addr().Is4() || dns.Port() == 0) {
		return fmt.Errorf("DNS responder %s: want an IPv4 address and a port", dns)
	}
	return nil
}
