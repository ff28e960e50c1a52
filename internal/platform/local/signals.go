package local

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Notify starts delivery of the signals that a run acts on: SIGINT and SIGTERM end it, SIGHUP, SIGQUIT,
// SIGUSR1, SIGUSR2 and SIGWINCH are the program's. Call stop when the run has ended.
func Notify() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}

// interrupted is the cause with which a run's context ends: the signal that asked for it.
type interrupted struct{ sig syscall.Signal }

func (e interrupted) Error() string { return fmt.Sprintf("interrupted by %s", e.sig) }

// relay takes signals in: those that end the run cancel its context, the rest go to the program.
type relay struct {
	// terminal: the program shares our process group, and what the terminal's keys send reaches it anyway.
	terminal bool

	mu      sync.Mutex
	program *process
	ending  bool
}

// run relays until done. The first SIGINT or SIGTERM ends the run in order; another one is for a user who
// does not want to wait, and goes straight to the program.
func (r *relay) run(ctx context.Context, in <-chan os.Signal, cancel context.CancelCauseFunc, done <-chan struct{}) {
	ended := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-ended:
			ended = nil
			// The same signal may have ended ctx and be on its way here, and it says more.
			if sig, ok := next(in, done); ok {
				r.take(sig, cancel)
			}
			r.end(syscall.SIGTERM, cancel)
		case sig := <-in:
			r.take(sig, cancel)
		}
	}
}

func next(in <-chan os.Signal, done <-chan struct{}) (os.Signal, bool) {
	if in == nil {
		return nil, false
	}
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case sig := <-in:
		return sig, true
	case <-done:
	case <-t.C:
	}
	return nil, false
}

func (r *relay) take(sig os.Signal, cancel context.CancelCauseFunc) {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	if s == syscall.SIGINT || s == syscall.SIGTERM {
		if r.end(s, cancel) {
			return
		}
	}
	if !r.sentByTerminal(s) {
		r.forward(s)
	}
}

// end cancels the run the first time.
func (r *relay) end(sig syscall.Signal, cancel context.CancelCauseFunc) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return false
	}
	r.ending = true
	cancel(interrupted{sig})
	return true
}

func (r *relay) setProgram(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.program = p
}

func (r *relay) forward(sig syscall.Signal) {
	r.mu.Lock()
	p := r.program
	r.mu.Unlock()
	if p != nil {
		_ = p.signal(sig)
	}
}

// sentByTerminal reports whether the program got sig from the terminal itself.
func (r *relay) sentByTerminal(sig syscall.Signal) bool {
	return r.terminal && (sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGWINCH)
}

// inForeground reports whether f is a terminal whose keys send signals to our process group (termios(3),
// tcgetpgrp).
func inForeground(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	pgrp, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}
