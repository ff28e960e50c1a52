package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// wantedFiles is the least number of open files that carries a few thousand connections.
const wantedFiles = 4096

// host is this machine as the checks see it; its root is "/" but in tests.
type host struct {
	root    string
	capture func() (reason string, ok bool)
	files   func() (uint64, error) // limit of open files
}

func hostOf(root string, capture func() (string, bool)) *host {
	return &host{root: root, capture: capture, files: openFiles}
}

func openFiles() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return l.Cur, nil
}

// check looks at what transparent capture needs (only warnings: capture falls back to explicit) and at the
// limits of the process.
func (h *host) check(f *findings) {
	h.checkKernel(f)
	if _, err := os.Stat(filepath.Join(h.root, "sys/kernel/btf/vmlinux")); err == nil {
		f.add(statusOK, "host-btf", "kernel has BTF type information", "")
	} else {
		f.add(statusWarning, "host-btf", "kernel has BTF type information", "no "+filepath.Join(h.root, "sys/kernel/btf/vmlinux"))
	}
	if at := h.cgroup2(); at != "" {
		f.add(statusOK, "host-cgroup2", "cgroup v2 is mounted at "+at, "")
	} else {
		f.add(statusWarning, "host-cgroup2", "cgroup v2 is mounted", "no cgroup2 in /proc/self/mountinfo")
	}
	if h.capture != nil {
		if reason, ok := h.capture(); ok {
			f.add(statusOK, "host-ebpf", "can capture traffic by eBPF", "")
		} else {
			f.add(statusWarning, "host-ebpf", "can capture traffic by eBPF", reason+"; `weft run` uses explicit capture")
		}
	}
	n, err := h.files()
	switch {
	case err != nil:
		f.add(statusWarning, "host-ulimit", "may open enough files", err.Error())
	case n < wantedFiles:
		f.add(statusWarning, "host-ulimit", "may open enough files", fmt.Sprintf("the limit is %d, wanted %d or more", n, wantedFiles))
	default:
		f.add(statusOK, "host-ulimit", "may open enough files", "")
	}
}

// oldest kernel with all hooks that capture uses: getpeername came with 5.8.
const (
	oldestMajor = 5
	oldestMinor = 8
)

func (h *host) checkKernel(f *findings) {
	raw, err := readSmall(filepath.Join(h.root, "proc/sys/kernel/osrelease"), 256)
	release := strings.TrimSpace(string(raw))
	major, minor, ok := kernelVersion(release)
	switch {
	case err != nil || !ok:
		f.add(statusWarning, "host-kernel", "kernel is recent enough for eBPF capture", fmt.Sprintf("its release %q cannot be read", release))
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		f.add(statusWarning, "host-kernel", "kernel is recent enough for eBPF capture", fmt.Sprintf("it is %s, wanted %d.%d or later", release, oldestMajor, oldestMinor))
	default:
		f.add(statusOK, "host-kernel", "kernel "+release+" is recent enough for eBPF capture", "")
	}
}

func kernelVersion(release string) (major, minor int, ok bool) {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err == nil && err2 == nil
}

// cgroup2 returns where cgroup v2 is mounted, "" if nowhere (proc_pid_mountinfo(5): the type follows " - ").
func (h *host) cgroup2() string {
	raw, err := readSmall(filepath.Join(h.root, "proc/self/mountinfo"), 4<<20)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && len(fields) >= 5 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4]
		}
	}
	return ""
}
