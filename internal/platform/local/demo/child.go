package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// childOptions describe a program to start.
type childOptions struct {
	label string   // for people: "reviews v2"
	log   string   // file its stdout (unless Stdout is set) and stderr are appended to
	args  []string // of the executable
	env   []string // added to ours

	stdin  io.Reader
	stdout io.Writer
}

// child is a started program. done is closed when it has ended and err says how.
type child struct {
	o       childOptions
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}
	err     error // valid once done is closed
}

// nursery starts programs from one thread that lives as long as they may: PR_SET_PDEATHSIG fires when the
// thread that forked ends, not the process, and the Go runtime may end any thread that no goroutine holds.
type nursery struct {
	exe  string
	jobs chan func()
	done chan struct{}
}

func newNursery(exe string) *nursery {
	n := &nursery{exe: exe, jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(n.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for f := range n.jobs {
			f()
		}
	}()
	return n
}

// close ends the goroutine that holds the thread; whatever was started has to be stopped before.
func (n *nursery) close() {
	close(n.jobs)
	<-n.done
}

// start runs the executable. Children have a process group of their own, so that Ctrl-C on the terminal
// reaches only us and we end them in order; and they get SIGTERM when we die.
func (n *nursery) start(o childOptions) (*child, error) {
	log, err := os.OpenFile(o.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", o.label, err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(n.exe, o.args...)
	cmd.Env = append(os.Environ(), o.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.stdin, o.stdout, log
	if o.stdout == nil {
		cmd.Stdout = log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	// Sidecars inherit stdout; without this, Wait would sit on the pipe until the last of them has closed it.
	cmd.WaitDelay = 2 * time.Second
	c := &child{o: o, cmd: cmd, started: time.Now(), done: make(chan struct{})}
	started := make(chan error, 1)
	n.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", o.label, err)
	}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// ended reports whether the program has ended.
func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop asks the program to end and, after the grace, kills its process group. It returns when it has ended.
func (c *child) stop(grace time.Duration) {
	if c.ended() {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.done
	}
}

// kill is kill -9: the program gets no chance to say anything to anyone. It returns once it is gone.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", c.o.label, err)
	}
	<-c.done
	return nil
}

// exitError says how a program that should run has ended, with the end of its log.
func (c *child) exitError() error {
	how := "exit status 0"
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		how = exit.String()
	} else if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s ended (%s); the end of %s:\n%s", c.o.label, how, c.o.log, tail(c.o.log, 15))
}

// tail returns the last n lines of a file, indented, reading at most its last 16 KiB.
func tail(file string, n int) string {
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return "  " + err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > 16<<10 {
		_, _ = f.Seek(-16<<10, io.SeekEnd)
	}
	b, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	return "  " + strings.Join(lines, "\n  ")
}

// poll calls f until it reports true, an error, or ctx ends; every is the pause between calls.
func poll(ctx context.Context, every time.Duration, f func() (bool, error)) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if ok, err := f(); ok || err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
