package ca

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	keyBytes       = 32
	maxKeyFile     = 4096 // bytes
	keyFileMode    = 0o600
	defaultKeyFile = "ca.key"
)

func keyFileError(path, reason, remedy string, err error) error {
	return &Error{Kind: ErrKeyFile, Place: path, Reason: reason, Remedy: remedy, Code: exitIO, Err: err}
}

// readKeyFile reads the sealing key: 32 bytes as base64 in a file nobody else may read. Its errors never
// hold what the file holds. os.ErrNotExist is passed through.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, keyFileError(path, "cannot read the key file: "+reason(err), "run as its owner, or give another with --ca-key", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, keyFileError(path, "cannot read the key file: "+reason(err), "", err)
	}
	if !st.Mode().IsRegular() {
		return nil, keyFileError(path, "the key file is not a regular file", "give another with --ca-key", nil)
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		who := ""
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			who = fmt.Sprintf(", owned by uid %d", sys.Uid)
		}
		e := &Error{
			Kind: ErrKeyFile, Place: path, Code: exitNoPerm,
			Reason: fmt.Sprintf("others can read the key file (mode %#o%s)", perm, who),
			Remedy: "chmod 600 it",
		}
		return nil, e
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, keyFileError(path, "cannot read the key file: "+reason(err), "", err)
	}
	// The decoder's error would quote the key.
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != keyBytes {
		return nil, &Error{
			Kind: ErrKeyFile, Place: path, Reason: "the key file does not hold 32 bytes of base64", Code: exitData,
			Remedy: "restore it from a backup; a new CA needs a new key file and an empty store",
		}
	}
	return key, nil
}

// createKeyFile makes a key file that appears whole or not at all, and returns the key that is in it then:
// ours, or the one of a process that was faster.
func createKeyFile(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make a CA key: %w", err)
	}
	fail := func(err error) ([]byte, error) {
		return nil, keyFileError(path, "cannot create the key file: "+reason(err), "give a writable place with --ca-key", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	// CreateTemp makes it with mode 0600.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ca-key-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, tmp.Chmod(keyFileMode), tmp.Sync(), tmp.Close()); err != nil {
		return fail(err)
	}
	// link(2) fails where the name exists, which rename(2) would replace.
	if err := os.Link(tmp.Name(), path); errors.Is(err, os.ErrExist) {
		return readKeyFile(path)
	} else if err != nil {
		return fail(err)
	}
	return key, syncDir(filepath.Dir(path))
}

// syncDir makes a new name in dir outlive a power cut: without the key file the CA is lost.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return keyFileError(dir, "cannot sync: "+reason(err), "", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return keyFileError(dir, "cannot sync: "+reason(err), "", err)
	}
	return nil
}

// reason drops the path from an error whose message names it already.
func reason(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
