package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/redirect/bpf"
)

// Supported reports whether this process can capture by eBPF here, and if not, the reason in words for
// a user. It loads the programs and drops them again, because nothing less is proof; that takes some
// milliseconds.
func Supported() (reason string, ok bool) {
	if missing := missingCapabilities(); missing != "" {
		return "not root: " + missing + " missing", false
	}
	mount, err := findCgroup2()
	if err != nil {
		return err.Error(), false
	}
	if err := unix.Access(mount, unix.W_OK); err != nil {
		return fmt.Sprintf("cgroup tree %s is not writable: %v", mount, err), false
	}
	objs, err := load(DefaultVIPs())
	if err != nil {
		return err.Error(), false
	}
	objs.Close()
	return "", true
}

// missingCapabilities names what the process lacks to load and attach programs (capabilities(7)).
func missingCapabilities() string {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return ""
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	if has(unix.CAP_SYS_ADMIN) {
		return ""
	}
	var missing []string
	if !has(unix.CAP_BPF) {
		missing = append(missing, "CAP_BPF")
	}
	if !has(unix.CAP_NET_ADMIN) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	return strings.Join(missing, " and ")
}

// load puts the programs and their maps into the kernel, attached to nothing yet.
func load(vips netip.Prefix) (*bpf.CaptureObjects, error) {
	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	spec, err := bpf.LoadCapture()
	if err != nil {
		return nil, fmt.Errorf("read the embedded eBPF object: %w", err)
	}
	net, mask := vipWords(vips)
	if err := errors.Join(
		spec.Variables[bpf.CaptureVarVipNet].Set(net),
		spec.Variables[bpf.CaptureVarVipMask].Set(mask),
	); err != nil {
		return nil, fmt.Errorf("set the virtual addresses: %w", err)
	}
	objs := new(bpf.CaptureObjects)
	if err := spec.LoadAndAssign(objs, nil); err != nil {
		return nil, loadError(err)
	}
	return objs, nil
}

func loadError(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		return fmt.Errorf("the kernel (%s) refuses the eBPF programs: %w", kernelRelease(), verifier)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("loading eBPF programs is not permitted (a container's seccomp profile?): %w", err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("the kernel (%s) lacks eBPF features: %w", kernelRelease(), err)
	}
	return fmt.Errorf("load eBPF programs: %w", err)
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
