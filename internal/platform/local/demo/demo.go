package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/samples"
)

// How long parts may take.
const (
	readyWithin = 60 * time.Second // a cold start on two busy cores
	leaveGrace  = 15 * time.Second
	serveGrace  = 10 * time.Second
	pollEvery   = 20 * time.Millisecond
)

// maxSocketPath is what fits in sockaddr_un with the longest name put below the data directory.
const maxSocketPath = 90

// Run starts the demo and blocks until ctx ends (then it returns nil after cleaning up) or, with
// Options.Check, until all assertions are done (ErrChecksFailed if one did not hold). An error otherwise
// says which part did not start, with the end of its log.
func Run(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	files, err := samples.Demo(o.Name)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d, err := Load(files)
	if err != nil {
		return fmt.Errorf("demo %s: %w", o.Name, err)
	}
	dir, remove, err := prepareDir(o)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer remove()
	l := newLab(o, d, dir)
	defer l.close()
	if err := l.writeRoutes(files); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	err = l.start(ctx)
	switch {
	case ctx.Err() != nil:
		l.out.printf("\nstopping ...")
		return nil
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	case o.Check:
		return l.check(ctx)
	}
	l.invite()
	return l.watch(ctx)
}

// prepareDir makes the demo's directory, and says how to get rid of it.
func prepareDir(o Options) (dir string, remove func(), err error) {
	nothing := func() {}
	if o.DataDir != "" {
		if dir, err = filepath.Abs(o.DataDir); err != nil {
			return "", nil, fmt.Errorf("data directory: %w", err)
		}
		err = os.MkdirAll(dir, 0o700)
	} else {
		dir, err = os.MkdirTemp("", "weft-demo-")
	}
	if err != nil {
		return "", nil, fmt.Errorf("data directory: %w; name another with --data-dir", err)
	}
	if len(dir) > maxSocketPath {
		return "", nil, fmt.Errorf("data directory %s: a unix socket's path has at most 107 bytes; name a shorter one with --data-dir", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return "", nil, fmt.Errorf("data directory: %w", err)
	}
	if o.DataDir != "" || o.Keep {
		return dir, nothing, nil
	}
	return dir, func() {
		if err := os.RemoveAll(dir); err != nil {
			o.Logger.Warn("demo directory is left behind", "dir", dir, "error", err)
		}
	}, nil
}

// lab is a demo that runs.
type lab struct {
	o   Options
	d   *Description
	dir string
	out *progress

	nursery   *nursery
	transport *http.Transport
	admin     adminv1connect.AdminServiceClient

	serve     *child
	instances []*instance
	loadChild *child
	client    *remote
	gentle    *running
	trust     string // trust domain
}

func newLab(o Options, d *Description, dir string) *lab {
	l := &lab{o: o, d: d, dir: dir, out: &progress{w: o.Stdout}, nursery: newNursery(o.Executable)}
	l.transport, l.admin = dialAdmin(l.socket())
	return l
}

func (l *lab) socket() string          { return filepath.Join(l.dir, "weft.sock") }
func (l *lab) logFile(n string) string { return filepath.Join(l.dir, "logs", n+".log") }
func (l *lab) routesDir() string       { return filepath.Join(l.dir, "routes") }

// writeRoutes puts the route files where the user's commands find them.
func (l *lab) writeRoutes(files fs.FS) error {
	if err := os.MkdirAll(l.routesDir(), 0o700); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	for _, name := range l.d.Routes {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("routes: %w", err)
		}
		if err := os.WriteFile(l.route(name), b, 0o600); err != nil {
			return fmt.Errorf("routes: %w", err)
		}
	}
	return nil
}

// route is where a route file of the description was written.
func (l *lab) route(name string) string { return filepath.Join(l.routesDir(), filepath.Base(name)) }

// start brings up everything, a line each.
func (l *lab) start(ctx context.Context) error {
	l.out.printf("%s", l.d.Title)
	if err := l.startServe(ctx); err != nil {
		return err
	}
	l.out.ready("control plane", time.Since(l.serve.started))
	if err := l.startServices(ctx); err != nil {
		return err
	}
	return l.startLoad(ctx)
}

// startServe starts the control plane and waits for its answer.
func (l *lab) startServe(ctx context.Context) error {
	c, err := l.nursery.start(childOptions{
		label: "control plane", log: l.logFile("control-plane"),
		args: []string{"serve", "--data-dir", filepath.Join(l.dir, "control"), "--socket", l.socket()},
	})
	if err != nil {
		return err
	}
	l.serve = c
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var last error
	err = poll(ctx, pollEvery, func() (bool, error) {
		if c.ended() {
			return false, c.exitError()
		}
		v, err := l.version(ctx)
		if last = err; err == nil {
			l.trust = v.GetTrustDomain()
		}
		return err == nil, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("control plane did not answer within %v (%w); the end of %s:\n%s", readyWithin, last, c.o.log, tail(c.o.log, 15))
	}
	return err
}

// close ends everything in the order that loses no request: load, services, control plane.
func (l *lab) close() {
	if l.client != nil {
		l.client.close()
	}
	if l.loadChild != nil {
		l.loadChild.stop(leaveGrace)
	}
	l.stopServices()
	if l.serve != nil {
		l.serve.stop(serveGrace)
	}
	l.nursery.close()
	l.transport.CloseIdleConnections()
}

// invite prints where to look and what to try.
func (l *lab) invite() {
	l.out.printf("")
	for _, in := range l.instances {
		if in.service.Page != "" {
			l.out.printf("The page:  http://127.0.0.1:%d%s", in.port, in.service.Page)
		}
	}
	l.out.printf("Logs:      %s\n\nTry, in another terminal:\n  export WEFT_SOCKET=%s PATH=%s:$PATH\n",
		filepath.Join(l.dir, "logs"), l.socket(), filepath.Dir(l.o.Executable))
	for _, c := range l.d.Commands {
		run, err := expand(c.Run, map[string]string{"ROUTES": l.routesDir()})
		if err != nil {
			l.o.Logger.Warn("a command to try", "error", err) // Load has refused it before
			continue
		}
		l.out.printf("  %s\n      # %s", run, c.Say)
	}
	l.out.printf("\nCtrl-C ends the demo and cleans up.")
}

// watch waits for the end and tells of parts that ended before it.
func (l *lab) watch(ctx context.Context) error {
	told := map[*child]bool{}
	err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
		if l.serve.ended() {
			return false, l.serve.exitError()
		}
		for _, in := range l.instances {
			if in.child.ended() && !told[in.child] {
				told[in.child] = true
				l.out.printf("✗ %v", in.child.exitError())
			}
		}
		return false, nil
	})
	if ctx.Err() != nil {
		l.out.printf("\nstopping ...")
		return nil
	}
	return err
}
