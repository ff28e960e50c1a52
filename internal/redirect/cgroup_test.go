package redirect

import (
	"log/slog"
	"net/netip"
	"testing"
)

func TestCgroup2Mount(t *testing.T) {
	for _, c := range []struct{ info, want string }{
		{"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n38 31 0:35 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/unified"},
		{"26 22 0:23 / /sys/fs/cgroup\\040x rw - cgroup2 cgroup rw\n", "/sys/fs/cgroup x"},
		{"26 22 0:23 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n", ""},
		{"junk\n - cgroup2 \n", ""},
	} {
		if got, ok := cgroup2Mount(c.info); got != c.want || ok != (c.want != "") {
			t.Errorf("got %q, %v; want %q", got, ok, c.want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Name: "web-1", Outbound: netip.MustParseAddrPort("127.0.0.1:1"), Logger: slog.New(slog.DiscardHandler)}
	for name, change := range map[string]func(*Options){
		"path in name": func(o *Options) { o.Name = "../x" },
		"no name":      func(o *Options) { o.Name = "" },
		"IPv6 VIPs":    func(o *Options) { o.VIPs = netip.MustParsePrefix("fd00::/8") },
		"everything":   func(o *Options) { o.VIPs = netip.MustParsePrefix("0.0.0.0/0") },
		"IPv6 target":  func(o *Options) { o.Outbound = netip.MustParseAddrPort("[::1]:1") },
		"no port":      func(o *Options) { o.Outbound = netip.MustParseAddrPort("127.0.0.1:0") },
		"IPv6 DNS":     func(o *Options) { o.DNS = netip.MustParseAddrPort("[::1]:53") },
		"no logger":    func(o *Options) { o.Logger = nil },
	} {
		o := good
		change(&o)
		if c, err := Attach(o); err == nil {
			t.Errorf("%s: accepted", name)
			c.Close()
		}
	}
}

func TestNameInUse(t *testing.T) {
	if reason, ok := Supported(); !ok {
		t.Skip(reason)
	}
	o := Options{Name: "test-in-use", Logger: slog.New(slog.DiscardHandler)}
	c, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := Prepare(o); err == nil {
		t.Error("two captures of one name")
		d.Close()
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error("second Close: ", err)
	}
	if err := c.Redirect(netip.MustParseAddrPort("127.0.0.1:1"), netip.AddrPort{}); err == nil {
		t.Error("closed capture redirects")
	}
}
