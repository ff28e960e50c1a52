package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// lab is a directory and the processes started in it for one scenario. close ends them all.
type lab struct {
	o   *options
	dir string

	procs []*process
	certs *certificates // made when first asked for
}

// process is a child and what it said.
type process struct {
	name string
	cmd  *exec.Cmd
	said *tail
	done chan struct{}
}

func newLab(o *options) (*lab, error) {
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return nil, err
	}
	// nginx's worker is another user.
	return &lab{o: o, dir: dir}, os.Chmod(dir, 0o755)
}

func (l *lab) close() {
	for i := len(l.procs) - 1; i >= 0; i-- {
		l.procs[i].stop()
	}
	_ = os.RemoveAll(l.dir)
}

// start runs a program until the lab closes.
func (l *lab) start(name, path string, args ...string) (*process, error) {
	return l.startWith(name, nil, path, args...)
}

func (l *lab) startWith(name string, env []string, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), said: &tail{}, done: make(chan struct{})}
	p.cmd.Dir = l.dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	l.procs = append(l.procs, p)
	return p, nil
}

// startSelf runs a child of this program: see child.
func (l *lab) startSelf(name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return l.start(name, self, append([]string{"child"}, args...)...)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends a process gently, then not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
		<-p.done
	}
}

// listening waits until addr accepts.
func (p *process) listening(addr string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.said)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen on %s: %s", p.name, addr, p.said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 8 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if n := t.b.Len() - most; n > 0 {
		t.b.Next(n)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// freePort returns the address of a port that nobody had a moment ago.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// file writes a file of the lab and returns its path.
func (l *lab) file(name, text string) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// output runs a program to its end and returns what it wrote.
func output(ctx context.Context, path string, args ...string) (string, error) {
	// A proxy that stands still must not hold up the run: no load is asked to take more than a minute.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.Writer(&bad)
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(path), err, bad.String())
	}
	return out.String(), nil
}

// outputSelf is output of a child of this program.
func outputSelf(ctx context.Context, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return output(ctx, self, append([]string{"child"}, args...)...)
}
