package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketPath is what fits sockaddr_un with its final zero (unix(7)).
const maxSocketPath = 107

// runtimeDir is a run's private directory. Its lock file is held as long as the run lives; the kernel drops
// the lock with the process.
type runtimeDir struct {
	path string
	lock *os.File
}

// makeRuntimeDir makes the directory and removes those of runs that were killed.
func makeRuntimeDir(env []string, id string) (*runtimeDir, error) {
	base, err := runtimeBase(env)
	if err != nil {
		return nil, err
	}
	sweepRuntime(base)
	d := &runtimeDir{path: filepath.Join(base, id)}
	if err := os.Mkdir(d.path, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("workload id %q is in use by another run on this machine: %w", id, err)
		}
		return nil, fmt.Errorf("make the runtime directory: %w", err)
	}
	if d.lock, err = lockDir(d.path); err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.path))
	}
	if n := len(d.socket()); n > maxSocketPath {
		return nil, errors.Join(fmt.Errorf("path of the admin socket %s has %d bytes, at most %d are possible: set XDG_RUNTIME_DIR to a shorter directory",
			d.socket(), n, maxSocketPath), d.remove())
	}
	return d, nil
}

// runtimeBase returns the directory of all of this user's runs, which nobody else can write to.
func runtimeBase(env []string) (string, error) {
	parent, name := "", "weft-run"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "XDG_RUNTIME_DIR="); ok && filepath.IsAbs(v) {
			parent = v
		}
	}
	switch {
	case parent != "":
	case os.Geteuid() == 0 && isDir("/run"):
		parent = "/run"
	default:
		parent, name = os.TempDir(), "weft-run-"+strconv.Itoa(os.Geteuid())
	}
	base := filepath.Join(parent, name)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", fmt.Errorf("make the runtime directory: %w", err)
	}
	st, err := os.Lstat(base)
	if err != nil {
		return "", fmt.Errorf("make the runtime directory: %w", err)
	}
	// Someone else's directory (or link) of that name in /tmp would get to see the token.
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.IsDir() || int(sys.Uid) != os.Geteuid() || st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("runtime directory %s is not private to this user: remove it, or set XDG_RUNTIME_DIR", base)
	}
	return base, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the runtime directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the runtime directory %s: %w", dir, err)
	}
	return f, nil
}

// sweepRuntime removes directories that no living run holds. One that is being made is empty yet and
// survives: only directories with a token or a socket in them are swept.
func sweepRuntime(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(base, e.Name())
		if inside, err := os.ReadDir(dir); err != nil || len(inside) == 0 {
			continue
		}
		f, err := lockDir(dir)
		if err != nil {
			continue
		}
		_ = os.RemoveAll(dir)
		f.Close()
	}
}

func (d *runtimeDir) tokenFile() string { return filepath.Join(d.path, "token") }

func (d *runtimeDir) socket() string { return filepath.Join(d.path, "admin.sock") }

// writeToken replaces the token file.
func (d *runtimeDir) writeToken(token string) error {
	if err := os.WriteFile(d.tokenFile(), []byte(token+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the join token: %w", err)
	}
	return nil
}

func (d *runtimeDir) remove() error {
	err := os.RemoveAll(d.path)
	return errors.Join(err, d.lock.Close())
}

// randomSuffix returns 8 letters and digits that tell instances of a service apart.
func randomSuffix() string { return strings.ToLower(rand.Text()[:8]) }
