package redirect

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/redirect/origdst"
)

// TestEverything has all TCP that leaves the machine come by the proxy, for as long as it is asked for: 192.0.2.0/24 and
// 2001:db8::/32 are nobody's (RFC 5737, RFC 3849), so an answer from there is the proxy's.
func TestEverything(t *testing.T) {
	l := newLab(t)
	plain := listen(t)
	go serve(plain)
	local := plain.Addr().String()
	if err := l.c.Everything(true); err != nil {
		t.Fatal(err)
	}
	if got, want := l.self("tcp 192.0.2.77:81"), "192.0.2.77:81\n192.0.2.77:81"; got != want {
		t.Errorf("an address outside: got %q, want %q", got, want)
	}
	if got, want := l.self("tcp 240.240.7.8:80"), "240.240.7.8:80\n240.240.7.8:80"; got != want {
		t.Errorf("a virtual address: got %q, want %q", got, want)
	}
	if got, want := l.self("tcp [::ffff:192.0.2.77]:81"), "192.0.2.77:81\n192.0.2.77:81"; got != want {
		t.Errorf("a mapped address: got %q, want %q", got, want)
	}
	if got := l.self("tcp [2001:db8::1]:81"); !strings.HasSuffix(got, "\n192.0.2.0:81") {
		t.Errorf("an IPv6 address: the proxy hears %q", got)
	}
	if got := l.self("tcp " + local); !strings.Contains(got, origdst.ErrNotCaptured.Error()) {
		t.Errorf("the machine's loopback: %q", got)
	}
	// The proxy comes back on other ports, and it is still all that is captured.
	again := listen(t)
	go serve(again)
	if err := l.c.Redirect(netip.MustParseAddrPort(again.Addr().String()), l.dns.addr()); err != nil {
		t.Fatal(err)
	}
	if got := l.self("tcp 192.0.2.77:81"); !strings.HasSuffix(got, "\n192.0.2.77:81") {
		t.Errorf("after the proxy moved: %q", got)
	}
	if err := l.c.Everything(false); err != nil {
		t.Fatal(err)
	}
	if got := l.self("try 192.0.2.77:81"); strings.Contains(got, "192.0.2.77:81 <nil>") {
		t.Errorf("captured though nobody asks for it any more: %q", got)
	}
}
