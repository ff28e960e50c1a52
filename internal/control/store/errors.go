package store

import "errors"

// Exit codes of sysexits.h that an Error hints at.
const (
	exitUsage       = 64
	exitData        = 65
	exitUnavailable = 69
	exitIO          = 74
	exitNoPerm      = 77
)

// What went wrong, for errors.Is.
var (
	ErrUsage       = errors.New("bad store options")
	ErrAccess      = errors.New("data directory not usable")
	ErrLocked      = errors.New("data directory in use")
	ErrCorrupt     = errors.New("store damaged")
	ErrUnreachable = errors.New("store unreachable")
	ErrCredentials = errors.New("store credentials refused")
	ErrFailed      = errors.New("store failed")
)

// Error says what went wrong with the store, where, and what to do.
type Error struct {
	Kind   error  // one of the Err values above
	Place  string // file, directory or endpoints
	Reason string
	Remedy string
	Code   int // exit code for the process that cannot go on, as in sysexits.h
	Err    error
}

// Error returns "store <place>: <reason>; <remedy>".
func (e *Error) Error() string {
	s := "store"
	if e.Place != "" {
		s += " " + e.Place
	}
	s += ": " + e.Reason
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// ExitCode returns the hint for the process's exit status.
func (e *Error) ExitCode() int { return e.Code }
