package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dirLock is an flock on <dir>/LOCK, which holds its owner's pid. The kernel drops the lock with the process,
// so a crash leaves nothing to clean up.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, accessError(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, accessError(dir, fmt.Errorf("lock %s: %w", path, err))
		}
		return nil, &Error{
			Kind: ErrLocked, Place: dir, Reason: "another weft serve uses this data directory" + owner(f), Code: exitUnavailable, Err: err,
			Remedy: "stop it, or give this one another --data-dir",
		}
	}
	l := &dirLock{f: f}
	if err := errors.Join(f.Truncate(0), writePid(f)); err != nil {
		return nil, errors.Join(accessError(dir, fmt.Errorf("write %s: %w", path, err)), l.release())
	}
	return l, nil
}

func writePid(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// owner names who holds the lock, as well as that is known: its pid is written just after locking.
func owner(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(b))
	if _, bad := strconv.Atoi(pid); err != nil || bad != nil {
		return ""
	}
	return " (pid " + pid + ")"
}

// release drops the lock. The file stays: to remove it would let two processes lock two files of one name.
func (l *dirLock) release() error {
	if l == nil || l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// prepareDir makes dir if need be, and proves that it can be written.
func prepareDir(dir string) error {
	if dir == "" {
		return &Error{Kind: ErrUsage, Reason: "no data directory given", Remedy: "set --data-dir", Code: exitUsage}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return accessError(dir, err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return accessError(dir, err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return accessError(dir, err)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return accessError(dir, err)
	}
	return nil
}

// accessError says who may use dir and who we are.
func accessError(dir string, err error) error {
	reason := "cannot use the data directory"
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		reason += ": " + pe.Op + ": " + pe.Err.Error()
		// The first parent that exists says more than a path that does not.
		for p := dir; ; p = filepath.Dir(p) {
			if st, serr := os.Stat(p); serr == nil {
				reason += "; " + describe(p, st)
				break
			}
			if p == filepath.Dir(p) {
				break
			}
		}
	} else {
		reason += ": " + err.Error()
	}
	return &Error{
		Kind: ErrAccess, Place: dir, Reason: reason, Code: exitIO, Err: err,
		Remedy: fmt.Sprintf("give a directory that uid %d can read and write with --data-dir", os.Geteuid()),
	}
}

func describe(path string, st os.FileInfo) string {
	what := "file"
	if st.IsDir() {
		what = "directory"
	}
	s := fmt.Sprintf("%s is a %s of mode %#o", path, what, st.Mode().Perm())
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s += fmt.Sprintf(", owned by uid %d gid %d", sys.Uid, sys.Gid)
	}
	return s
}
