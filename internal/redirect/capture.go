package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirect/bpf"
)

// Capture is one program's capture.
type Capture struct {
	groups *groups
	objs   *bpf.CaptureObjects
	name   string

	mu     sync.Mutex
	links  []link.Link       // set by the first Redirect
	target bpf.CaptureTarget // as the kernel has it
	closed bool
}

// Attach prepares a capture and begins it.
func Attach(o Options) (*Capture, error) {
	if err := validateTargets(o.Outbound, o.DNS); err != nil {
		return nil, err
	}
	c, err := Prepare(o)
	if err != nil {
		return nil, err
	}
	if err := c.Redirect(o.Outbound, o.DNS); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Prepare makes the control groups and loads the programs, but captures nothing before Redirect: the proxy
// can start in its group and find its ports first. Outbound and DNS of the options are not read.
// The caller closes the Capture.
func Prepare(o Options) (*Capture, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if missing := missingCapabilities(); missing != "" {
		return nil, fmt.Errorf("capture by eBPF: not root: %s missing", missing)
	}
	mount, err := findCgroup2()
	if err != nil {
		return nil, fmt.Errorf("capture by eBPF: %w", err)
	}
	objs, err := load(o.VIPs)
	if err != nil {
		return nil, fmt.Errorf("capture by eBPF: %w", err)
	}
	g, err := makeGroups(mount, o.Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture by eBPF: %w", err), objs.Close())
	}
	o.Logger.Debug("capture prepared", "cgroup", g.root.Name(), "vips", o.VIPs)
	return &Capture{groups: g, objs: objs, name: o.Name}, nil
}

// Redirect sends captured traffic to the proxy's listeners from now on, and attaches the hooks the first
// time. It may be called again when the proxy has come back on other ports; connections opened before keep
// what they have. An invalid dns leaves DNS alone.
func (c *Capture) Redirect(outbound, dns netip.AddrPort) error {
	if err := validateTargets(outbound, dns); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("capture %q is closed", c.name)
	}
	t := bpf.CaptureTarget{Outbound: bpfAddr(outbound), All: c.target.All}
	if dns.IsValid() {
		t.Dns = bpfAddr(dns)
	}
	if err := c.aim(&t); err != nil {
		return err
	}
	if c.links != nil {
		return nil
	}
	return c.attach()
}

// Everything says whether TCP to every address that is not the machine's loopback is captured, and not to virtual
// addresses alone. Connections opened before keep what they have. It may be called before Redirect.
func (c *Capture) Everything(all bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("capture %q is closed", c.name)
	}
	t := c.target
	if t.All = 0; all {
		t.All = 1
	}
	return c.aim(&t)
}

// aim gives the kernel a target. The lock is held.
func (c *Capture) aim(t *bpf.CaptureTarget) error {
	if err := c.objs.Targets.Put(uint32(0), t); err != nil {
		return fmt.Errorf("set the capture's targets: %w", err)
	}
	c.target = *t
	return nil
}

// attach puts the hooks in place, the one that answers first: no connection is captured before the proxy
// can ask where it was going.
func (c *Capture) attach() error {
	app, proxy, o := c.groups.app.Name(), c.groups.proxy.Name(), c.objs
	for _, h := range []link.CgroupOptions{
		{Path: proxy, Attach: ebpf.AttachCGroupGetsockopt, Program: o.WeftGetsockopt},
		{Path: app, Attach: ebpf.AttachCGroupSockOps, Program: o.WeftSockops},
		{Path: app, Attach: ebpf.AttachCgroupInet4GetPeername, Program: o.WeftGetpeername4},
		{Path: app, Attach: ebpf.AttachCgroupInet6GetPeername, Program: o.WeftGetpeername6},
		{Path: app, Attach: ebpf.AttachCGroupUDP4Recvmsg, Program: o.WeftRecvmsg4},
		{Path: app, Attach: ebpf.AttachCGroupUDP6Recvmsg, Program: o.WeftRecvmsg6},
		{Path: app, Attach: ebpf.AttachCGroupUDP4Sendmsg, Program: o.WeftSendmsg4},
		{Path: app, Attach: ebpf.AttachCGroupInet4Connect, Program: o.WeftConnect4},
		{Path: app, Attach: ebpf.AttachCGroupInet6Connect, Program: o.WeftConnect6},
	} {
		l, err := link.AttachCgroup(h)
		if err != nil {
			return errors.Join(fmt.Errorf("attach %s to %s: %w", h.Attach, h.Path, err), c.detach())
		}
		c.links = append(c.links, l)
	}
	return nil
}

// detach takes the hooks away in the opposite order.
func (c *Capture) detach() error {
	var errs []error
	for i := len(c.links) - 1; i >= 0; i-- {
		errs = append(errs, c.links[i].Close())
	}
	c.links = nil
	return errors.Join(errs...)
}

// App is the directory of the program's control group, for SysProcAttr.CgroupFD. The Capture owns it.
func (c *Capture) App() *os.File { return c.groups.app }

// Proxy is the directory of the proxy's control group, for SysProcAttr.CgroupFD. The Capture owns it.
func (c *Capture) Proxy() *os.File { return c.groups.proxy }

// Remaining lists the ids of the processes in the program's group: what it left running when it ended.
func (c *Capture) Remaining() []string { return members(c.groups.app.Name()) }

// Kill sends SIGKILL to every process in the program's group, children of its own groups included.
func (c *Capture) Kill() error {
	path := filepath.Join(c.groups.app.Name(), "cgroup.kill")
	if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("kill the processes of capture %q: %w", c.name, err)
	}
	return nil
}

// Close detaches the hooks and removes the control groups. Established connections live on. It fails,
// naming the processes, when some still run in the groups. Calls after the first do nothing.
func (c *Capture) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return errors.Join(c.detach(), c.objs.Close(), c.groups.remove())
}

// bpfAddr writes an address as the programs hold it: network byte order, the port in the low half.
func bpfAddr(a netip.AddrPort) bpf.CaptureAddr {
	ip := a.Addr().As4()
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], a.Port())
	return bpf.CaptureAddr{Ip: binary.NativeEndian.Uint32(ip[:]), Port: uint32(binary.NativeEndian.Uint16(port[:]))}
}

func vipWords(p netip.Prefix) (net, mask uint32) {
	ip := p.Masked().Addr().As4()
	var m [4]byte
	binary.BigEndian.PutUint32(m[:], ^uint32(0)<<(32-p.Bits()))
	return binary.NativeEndian.Uint32(ip[:]), binary.NativeEndian.Uint32(m[:])
}
