package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// run is one program and its sidecar.
type run struct {
	p       *plan
	path    string // of the program
	dir     *runtimeDir
	spawn   *spawner
	capture *capture
	sidecar *sidecar
	relay   *relay
	program *process
}

// Run runs a program in the mesh until it ends, or until a signal or ctx ends it in order: the endpoint
// leaves the mesh, the program gets the signal, the proxy drains. It returns the program's exit status
// (128+n when signal n ended it). An error, which carries its own status by an ExitCode method, says why the
// program was not started: 64 for wrong options, 69 when something needed is missing, 126 and 127 when the
// command cannot be run or is not found.
func Run(ctx context.Context, o RunOptions) (exitCode int, err error) {
	p, err := o.plan()
	if err != nil {
		return exitCodeOf(err), err
	}
	r := &run{p: p, spawn: newSpawner(), relay: &relay{terminal: inForeground(o.Stdin)}}
	defer r.spawn.close()

	// The run outlives ctx, which only asks for its end.
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	done, relayed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(relayed)
		r.relay.run(ctx, o.Signals, cancel, done)
	}()
	defer func() { close(done); <-relayed }()

	code, err := r.run(inner)
	var sig interrupted
	if errors.As(err, &sig) { // before the program had started
		return 128 + int(sig.sig), nil
	}
	if err != nil {
		return exitCodeOf(err), err
	}
	return code, nil
}

func (r *run) run(ctx context.Context) (int, error) {
	if err := r.prepare(); err != nil {
		return 0, err
	}
	defer r.cleanup()
	if err := r.sidecar.start(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return 0, cause
		}
		return 0, err
	}
	defer r.sidecar.stop()
	ready := r.sidecar.readyNow()
	if err := r.capture.redirect(ready); err != nil {
		return 0, unavailable(err)
	}
	fmt.Fprintln(r.p.ProxyOutput, r.capture.describe(ready))
	if err := r.startProgram(ready); err != nil {
		return 0, err
	}

	supervised, stop := context.WithCancel(ctx)
	defer stop()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		r.sidecar.supervise(supervised)
	}()
	select {
	case <-r.program.done:
	case <-ctx.Done():
	}
	stop()
	<-quiet
	r.end(ctx)
	return exitStatus(r.program.state), nil
}

// prepare finds out what can go wrong before anything runs, and makes what a run needs.
func (r *run) prepare() (err error) {
	if r.path, err = findProgram(r.p); err != nil {
		return err
	}
	proxy, err := findProxy(r.p.Proxy)
	if err != nil {
		return err
	}
	if err := checkPortsFree(r.p.ports); err != nil {
		return err
	}
	if r.dir, err = makeRuntimeDir(r.p.Env, r.p.ID); err != nil {
		return err
	}
	if r.capture, err = chooseCapture(r.p); err != nil {
		return errors.Join(err, r.dir.remove())
	}
	r.sidecar = &sidecar{
		p: r.p, path: proxy, dir: r.dir, spawn: r.spawn,
		cgroup: r.capture.proxyGroup(), restored: r.capture.redirect, everything: r.capture.everything(),
	}
	return nil
}

func findProgram(p *plan) (string, error) {
	path, err := exec.LookPath(p.Command[0])
	if err != nil {
		return "", cannotStart(fmt.Errorf("cannot run the program: %w", err))
	}
	return path, nil
}

// cleanup removes what prepare made. Nothing more can be done about what fails here than to say it.
func (r *run) cleanup() {
	if err := errors.Join(r.capture.close(), r.dir.remove()); err != nil {
		r.p.Logger.Warn("something of the run remains", "error", err)
	}
}

func (r *run) startProgram(ready Ready) error {
	cmd := exec.Command(r.path, r.p.Command[1:]...)
	cmd.Args[0] = r.p.Command[0]
	cmd.Dir, cmd.Env = r.p.Dir, programEnv(r.p, r.capture.mode(), ready)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.p.Stdin, r.p.Stdout, r.p.Stderr
	cmd.WaitDelay = time.Second // for outputs that a grandchild keeps open
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// In a terminal the program stays in the foreground group, else it could not read; elsewhere a
		// group of its own keeps signals to ours from reaching it twice.
		Setpgid:   !r.relay.terminal,
		Pdeathsig: syscall.SIGKILL,
	}
	if g := r.capture.programGroup(); g != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(g.Fd())
	}
	program, err := r.spawn.start(cmd)
	if err != nil {
		return cannotStart(fmt.Errorf("cannot run the program: %w", err))
	}
	r.program = program
	r.relay.setProgram(program)
	if r.p.Started != nil {
		r.p.Started(Status{
			ID: r.p.ID, Capture: r.capture.mode(), ProgramPID: program.pid(),
			ProxyPID: r.sidecar.current().pid(), Proxy: ready,
		})
	}
	return nil
}

// end takes the program out of the mesh and ends it, if it has not ended by itself. The proxy and the rest
// follow as Run unwinds.
func (r *run) end(ctx context.Context) {
	r.sayIfDaemon()
	if len(r.p.ports) > 0 {
		if err := r.sidecar.leave(context.WithoutCancel(ctx)); err != nil {
			r.p.Logger.Warn("other proxies may send requests to the program a little longer", "error", err)
		}
	}
	var asked interrupted
	if errors.As(context.Cause(ctx), &asked) {
		sig := os.Signal(asked.sig)
		if r.relay.sentByTerminal(asked.sig) {
			sig = syscall.Signal(0) // it has it
		}
		if r.program.terminate(sig, r.p.ProgramGrace) {
			r.p.Logger.Warn("the program did not end in time and was killed", "grace", r.p.ProgramGrace)
		}
	}
	<-r.program.done
	if !r.relay.terminal {
		// What the program started in its own process group ends with it.
		_ = syscall.Kill(-r.program.pid(), syscall.SIGTERM)
	}
	r.capture.endRest(r.p)
}

// sayIfDaemon tells of a program that went to the background: its sidecar cannot outlive the command.
func (r *run) sayIfDaemon() {
	select {
	case <-r.program.done:
	default:
		return
	}
	if !r.program.state.Success() {
		return
	}
	if port, ok := accepts(r.p.ports); ok {
		fmt.Fprintf(r.p.ProxyOutput, "weft: the program went to the background (it ended with status 0 while port %d still accepts), "+
			"so it is out of the mesh: run it in the foreground, as in nginx -g 'daemon off;'\n", port)
	}
}
