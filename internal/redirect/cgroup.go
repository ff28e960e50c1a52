package redirect

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// parentDir is the directory in the cgroup tree that holds all captures.
const parentDir = "weft"

// cgroup2Mount finds where the unified hierarchy is mounted, from lines of /proc/self/mountinfo (proc(5)).
// On hybrid machines it is not /sys/fs/cgroup itself.
func cgroup2Mount(mountinfo string) (string, bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		if !ok || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		if f := strings.Fields(before); len(f) >= 5 {
			return unescapeMount(f[4]), true
		}
	}
	return "", false
}

// unescapeMount undoes the octal escapes of space, tab, newline and backslash.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func findCgroup2() (string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find the cgroup v2 mount: %w", err)
	}
	dir, ok := cgroup2Mount(string(info))
	if !ok {
		return "", errors.New("no cgroup v2 hierarchy is mounted")
	}
	return dir, nil
}

// groups are the directories of one capture. The lock on root marks it as in use: the kernel drops it with
// the process, which is how leftovers are told from the living.
type groups struct {
	root, app, proxy *os.File
}

// makeGroups creates weft/<name>/{app,proxy} under mount and removes what dead runs left beside it.
func makeGroups(mount, name string) (*groups, error) {
	parent := filepath.Join(mount, parentDir)
	if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	// Held while directories come and go, so that no new one is swept before it is locked.
	lock, err := openLocked(parent, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	sweep(parent)

	g := new(groups)
	root := filepath.Join(parent, name)
	if err := os.Mkdir(root, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	if g.root, err = openLocked(root, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("capture %q is in use by another process: choose another name", name)
		}
		return nil, err
	}
	if g.app, err = openGroup(filepath.Join(root, "app")); err == nil {
		g.proxy, err = openGroup(filepath.Join(root, "proxy"))
	}
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

func openLocked(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func openGroup(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make control group: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	return f, nil
}

// sweep removes the groups of runs that ended without doing it themselves. A group in which processes
// live on is left to them.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		f, err := openLocked(dir, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // its run is alive
		}
		_ = removeTree(dir)
		f.Close()
	}
}

// removeTree removes dir's groups, deepest first: programs may have made groups of their own in app.
// Control files cannot be unlinked, so os.RemoveAll does not do.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove control group: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove control group %s: %w", dir, err)
	}
	return nil
}

// remove deletes the groups. A process that was reaped leaves its group a moment later, so EBUSY is tried
// again for up to a second.
func (g *groups) remove() error {
	dir := g.root.Name()
	var err error
	for deadline := time.Now().Add(time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err = removeTree(dir); !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			break
		}
	}
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: processes %s still run in it", err, strings.Join(members(dir), " "))
	}
	for _, f := range []*os.File{g.app, g.proxy, g.root} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	// Succeeds only for the last of all captures; another's directory makes it fail, as it must.
	_ = unix.Rmdir(filepath.Dir(dir))
	return err
}

// members lists the processes in dir and below.
func members(dir string) []string {
	var pids []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		f, err := os.Open(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			pids = append(pids, sc.Text())
		}
		return nil
	})
	return pids
}
