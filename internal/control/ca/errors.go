package ca

import "errors"

// Exit codes of sysexits.h that an Error hints at.
const (
	exitData        = 65
	exitUnavailable = 69
	exitIO          = 74
	exitNoPerm      = 77
	exitConfig      = 78
)

// What is wrong with a CA, for errors.Is.
var (
	ErrKeyFile     = errors.New("CA key file not usable")
	ErrWrongKey    = errors.New("wrong CA key")
	ErrDamaged     = errors.New("stored CA damaged")
	ErrTrustDomain = errors.New("trust domain differs from the stored CA's")
	ErrStore       = errors.New("store of the CA not available")
)

// What is wrong with a join token. A malformed one is identity.ErrTokenMalformed.
var (
	ErrTokenSpent   = errors.New("join token expired or used up; create a new one with `weft token create`")
	ErrTokenUnknown = errors.New("join token unknown; create one with `weft token create`")
	ErrTokenForeign = errors.New("join token of another mesh")
)

// ErrRequest is wrapped by what is wrong with a certificate request.
var ErrRequest = errors.New("certificate request refused")

// Error says what is wrong with the CA, where, and what to do.
type Error struct {
	Kind   error // one of the Err values above
	Place  string
	Reason string
	Remedy string
	Code   int // exit code hint, as in sysexits.h
	Err    error
}

// Error returns "CA <place>: <reason>; <remedy>".
func (e *Error) Error() string {
	s := "CA"
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
