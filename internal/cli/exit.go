package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

// Exit statuses, those of sysexits.h where it has one.
const (
	ExitOK          = 0
	ExitNo          = 1   // a negative answer: differences, a failed check, not found, refused
	ExitRolledBack  = 3   // apply --guard: the change was worse, and is undone
	ExitUnjudged    = 4   // apply --guard: the change stays, with too little traffic to judge it
	ExitUsage       = 64  // EX_USAGE: the command line is wrong
	ExitData        = 65  // EX_DATAERR: documents are wrong
	ExitUnavailable = 69  // EX_UNAVAILABLE: no control plane
	ExitInternal    = 70  // EX_SOFTWARE
	ExitIO          = 74  // EX_IOERR
	ExitTemporary   = 75  // EX_TEMPFAIL: not in time; trying again may help
	exitInterrupted = 130 // ended by Ctrl-C, as shells report it
)

// Error is a failure with its exit status. With a nil Err everything has been said already.
type Error struct {
	Code int
	Err  error
}

// Error returns the cause's text.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode returns the exit status. Any error with this method decides its own.
func (e *Error) ExitCode() int { return e.Code }

func fail(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// report writes err to Stderr in the user's terms and returns its exit status.
func (a *App) report(ctx context.Context, err error) int {
	if err == nil {
		return ExitOK
	}
	if said := new(Error); errors.As(err, &said) && said.Err == nil {
		return said.Code
	}
	if problems := problemsOf(err); len(problems) > 0 {
		for _, p := range problems {
			fmt.Fprintln(a.o.Stderr, problemLine(p))
		}
		fmt.Fprintf(a.o.Stderr, "weft: nothing was changed: %s\n", plural(len(problems), "problem"))
		return ExitData
	}
	code, msg := a.explainError(ctx, err)
	fmt.Fprintf(a.o.Stderr, "weft: %s\n", clean(msg))
	return code
}

// explainError returns the exit status of err and its text for the user.
func (a *App) explainError(ctx context.Context, err error) (int, string) {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode(), err.Error()
	}
	if !a.ran {
		return ExitUsage, err.Error() + "; see `weft help`"
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return exitInterrupted, "interrupted"
	}
	var remote *connect.Error
	if errors.As(err, &remote) {
		return a.explainRemote(remote)
	}
	var path *fs.PathError
	var write *os.SyscallError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTemporary, err.Error()
	case errors.As(err, &path), errors.As(err, &write):
		return ExitIO, err.Error()
	}
	return ExitInternal, err.Error()
}

func (a *App) explainRemote(e *connect.Error) (int, string) {
	var dial *net.OpError
	if errors.As(e, &dial) && dial.Op == "dial" {
		return a.explainDial(dial)
	}
	switch e.Code() {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return ExitUsage, e.Message()
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		return ExitUsage, e.Message() + "; name the file of a valid token by --token-file"
	case connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodeFailedPrecondition:
		return ExitNo, e.Message()
	case connect.CodeUnavailable:
		return ExitUnavailable, fmt.Sprintf("the control plane at %s does not answer: %s", a.conn.target(), e.Message())
	case connect.CodeDeadlineExceeded:
		return ExitTemporary, fmt.Sprintf("the control plane at %s did not answer in time (--request-timeout %s): %s", a.conn.target(), a.conn.timeout, e.Message())
	case connect.CodeAborted, connect.CodeResourceExhausted:
		return ExitTemporary, e.Message() + "; try again"
	case connect.CodeCanceled:
		return exitInterrupted, "interrupted"
	case connect.CodeUnimplemented:
		return ExitInternal, e.Message() + "; the control plane may be of another version: see `weft version`"
	}
	return ExitInternal, e.Message()
}

func (a *App) explainDial(e *net.OpError) (int, string) {
	at := a.conn.target()
	switch {
	case a.conn.server != "":
		return ExitUnavailable, fmt.Sprintf("no control plane at %s: %v", at, e.Err)
	case errors.Is(e, fs.ErrPermission):
		return ExitUnavailable, fmt.Sprintf("not allowed to connect to the control plane at %s: run as the user who started `weft serve`, or name another by --socket or WEFT_SOCKET", at)
	case errors.Is(e, fs.ErrNotExist), errors.Is(e, syscall.ECONNREFUSED), errors.Is(e, syscall.ENOTDIR):
		return ExitUnavailable, fmt.Sprintf("no control plane at %s: start one with `weft serve`, or name it with --socket or WEFT_SOCKET", at)
	}
	return ExitUnavailable, fmt.Sprintf("no control plane at %s: %v", at, e.Err)
}

// problemsOf returns what is wrong with documents, if that is what err says.
func problemsOf(err error) []*adminv1.Problem {
	var local *problemsError
	if errors.As(err, &local) {
		return local.problems
	}
	var remote *connect.Error
	if !errors.As(err, &remote) {
		return nil
	}
	for _, d := range remote.Details() {
		v, err := d.Value()
		if err != nil {
			continue // a detail of a type this version does not know
		}
		if p, ok := v.(*adminv1.Problems); ok {
			return p.GetProblems()
		}
	}
	return nil
}

// problemsError is what the command line itself found wrong with documents.
type problemsError struct{ problems []*adminv1.Problem }

func (e *problemsError) Error() string { return plural(len(e.problems), "problem") + " in documents" }
