package local

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a child. Wait on done; the rest is valid after it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	// state is how it ended.
	state *os.ProcessState
}

// spawner starts children from one system thread that lives as long as the run, because the kernel sends a
// child its death signal when the thread that forked it ends (prctl(2), PR_SET_PDEATHSIG).
type spawner struct {
	work chan func()
	gone chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), gone: make(chan struct{})}
	go func() {
		defer close(s.gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// close ends the spawner; its children have ended before.
func (s *spawner) close() {
	close(s.work)
	<-s.gone
}

// start starts cmd and a goroutine that reaps it.
func (s *spawner) start(cmd *exec.Cmd) (*process, error) {
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // what it says is in ProcessState
		p.state = cmd.ProcessState
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// signal sends sig to the process; one that has ended gets nothing.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// wait waits at most d for the end.
func (p *process) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		return false
	}
}

// terminate sends sig, and SIGKILL after grace. killed is whether it came to that.
func (p *process) terminate(sig os.Signal, grace time.Duration) (killed bool) {
	_ = p.signal(sig)
	if p.wait(grace) {
		return false
	}
	_ = p.signal(syscall.SIGKILL)
	<-p.done
	return true
}

// exitStatus is the status a shell would report (128+n for a signal).
func exitStatus(st *os.ProcessState) int {
	ws, ok := st.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return st.ExitCode()
}
