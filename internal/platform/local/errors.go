package local

import (
	"errors"
	"io/fs"
	"os/exec"
)

// Exit statuses of a run that did not get as far as a program's own (sysexits.h; 126 and 127 as shells have them).
const (
	exitUsage       = 64
	exitUnavailable = 69
	exitOS          = 71
	exitCannotRun   = 126
	exitNotFound    = 127
)

// Error is a failure of the run itself, with the exit status it calls for.
type Error struct {
	Code int
	Err  error
}

// Error returns the cause's text.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the exit status.
func (e *Error) ExitCode() int { return e.Code }

func usage(err error) error { return &Error{exitUsage, err} }

func unavailable(err error) error { return &Error{exitUnavailable, err} }

// cannotStart gives an error of exec the status a shell would.
func cannotStart(err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &Error{exitNotFound, err}
	}
	return &Error{exitCannotRun, err}
}

// exitCodeOf returns the status that goes with err.
func exitCodeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return exitOS
}
