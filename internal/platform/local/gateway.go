package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/platform/acme"
)

// GatewayOptions say what a gateway without a control plane serves.
type GatewayOptions struct {
	// Paths returns the files of documents there are now, Read their contents. They are asked again when a
	// file has changed.
	Paths func() ([]string, error)
	Read  func() ([]document.Source, error)

	Bind      []netip.Addr      // where a Gateway binds that names no addresses; default 127.0.0.1 and [::1]
	Labels    map[string]string // for the selectors of Istio's Gateways; nil is istio: ingressgateway
	Loops     int
	Admin     string // unix:///PATH or IP:PORT; "" is none
	AccessLog string // file; "-" is standard output; "" is none
	LogLevel  string // of the proxy
	Proxy     string // path of weft-proxy; "" is beside this program, else in PATH
	Check     bool   // compile and end

	ACME *acme.Options // how listeners that ask for it get certificates; nil: they get none

	// Report is told of what is wrong with the documents, warnings too.
	Report func(document.Problems)
	// Serving is told what is served, when that begins and after each change.
	Serving func(*model.Snapshot)

	Reload  <-chan os.Signal // SIGHUP
	Logger  *slog.Logger
	Stderr  io.Writer // of the proxy
	Stdout  io.Writer
	Grace   time.Duration // for the proxy to drain in; default 15 s
	Watched time.Duration // how often files are looked at; default 500 ms
}

// ErrDocuments is the reason of a gateway that does not start: its documents, which Report was told of.
var ErrDocuments = errors.New("the documents are not right")

func (o *GatewayOptions) setDefaults() {
	if len(o.Bind) == 0 {
		o.Bind = nil // CompileStandalone has the default
	}
	if o.Loops <= 0 {
		o.Loops = 1
	}
	if o.Grace <= 0 {
		o.Grace = 15 * time.Second
	}
	if o.Watched <= 0 {
		o.Watched = 500 * time.Millisecond
	}
	if o.LogLevel == "" {
		o.LogLevel = "warn"
	}
}

// edge is a running gateway.
type edge struct {
	o        GatewayOptions
	path     string // of weft-proxy
	spawn    *spawner
	proc     *process
	feed     *feed
	revision int64
	current  *model.Snapshot // as the proxy runs it, but for certificates by ACME
	acme     *acme.Manager   // nil: there is none
	files    []string        // certificates and keys that the documents name
	watch    *watch
}

// Gateway runs a gateway until ctx ends: it compiles the documents, starts weft-proxy, and applies what
// changes. What is wrong at the start ends it; what is wrong later is reported, and what ran before goes on.
func Gateway(ctx context.Context, o GatewayOptions) error {
	o.setDefaults()
	e := &edge{o: o}
	snapshot, err := e.compile()
	if err != nil || o.Check {
		return err
	}
	if e.path, err = findProxy(o.Proxy); err != nil {
		return err
	}
	if o.ACME != nil {
		if e.acme, err = acme.New(ctx, *o.ACME); err != nil {
			return usage(err)
		}
		defer e.acme.Close()
	}
	e.spawn = newSpawner()
	defer e.spawn.close()
	if err := e.start(ctx, snapshot); err != nil {
		return err
	}
	defer e.stop()
	o.Serving(snapshot)
	return e.serve(ctx)
}

// compile reads the documents and makes a snapshot of them.
func (e *edge) compile() (*model.Snapshot, error) {
	before := marksOf(e.watched())
	defer func() { e.watch = newWatch(before, e.watched()) }()
	sources, err := e.o.Read()
	if err != nil {
		return nil, err
	}
	resources, problems := config.ParseStandalone(sources, document.Limits{})
	if problems.Failed() {
		e.o.Report(problems)
		return nil, ErrDocuments
	}
	out := config.CompileStandalone(config.StandaloneInput{Resources: resources, Bind: e.o.Bind, Labels: e.o.Labels, ReadFile: os.ReadFile, Now: time.Now()})
	e.files = out.Files
	problems = append(problems, out.Problems...)
	e.o.Report(problems)
	if problems.Failed() {
		return nil, ErrDocuments
	}
	if len(out.Snapshot.Sockets) == 0 {
		return nil, &Error{exitUsage, errors.New("the documents have no listener to serve: write a Gateway with gatewayClassName: weft")}
	}
	e.revision++
	out.Snapshot.Revision = e.revision
	return out.Snapshot, nil
}

// serve applies changes and restarts a proxy that dies, until ctx ends.
func (e *edge) serve(ctx context.Context) error {
	tick := time.NewTicker(e.o.Watched)
	defer tick.Stop()
	backoff := firstBackoff
	for up := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-e.o.Reload:
			e.reload(ctx)
		case <-tick.C:
			if e.watch.settled(e.watched()) {
				e.reload(ctx)
			}
		case <-e.managedChanged():
			e.renew(ctx)
		case <-e.proc.done:
			if ctx.Err() != nil {
				return nil
			}
			if time.Since(up) >= stableAfter {
				backoff = firstBackoff
			}
			e.o.Logger.Error("the proxy died and is started again", "status", e.proc.state.String(), "pid", e.proc.pid())
			if pause(ctx, backoff) != nil {
				return nil
			}
			backoff = min(2*backoff, maxBackoff)
			if err := e.start(ctx, e.current); err != nil {
				e.o.Logger.Error("the proxy did not start", "error", err)
			}
			up = time.Now()
		}
	}
}

// reload applies what the documents say now, if it is right.
func (e *edge) reload(ctx context.Context) {
	snapshot, err := e.compile()
	if err == nil {
		err = e.apply(ctx, snapshot)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.o.Logger.Error("the change is refused, what ran before goes on", "error", err)
		}
		return
	}
	e.o.Logger.Info("the change is applied", "revision", snapshot.Revision)
	e.o.Serving(snapshot)
}

// apply makes the running proxy take a snapshot.
func (e *edge) apply(ctx context.Context, s *model.Snapshot) error {
	full, version := e.withManaged(s)
	if err := e.feed.apply(ctx, full); err != nil {
		return err
	}
	e.current = s
	return e.manage(s, version)
}

// start starts the proxy and has it run a snapshot.
func (e *edge) start(ctx context.Context, s *model.Snapshot) error {
	f, theirs, err := newFeed()
	if err != nil {
		return unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	proc, err := e.spawn.start(e.command(theirs))
	_ = theirs.Close()
	if err != nil {
		f.close()
		return unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	if e.feed != nil {
		e.feed.close()
	}
	e.proc, e.feed = proc, f
	if err := e.apply(ctx, s); err != nil {
		proc.terminate(os.Interrupt, e.o.Grace)
		if errors.Is(err, errFeedBroken) {
			return proxyEnded(proc)
		}
		return &Error{exitUsage, err}
	}
	return nil
}

// stop lets the proxy drain.
func (e *edge) stop() {
	e.feed.close()
	if e.proc.terminate(os.Interrupt, e.o.Grace) {
		e.o.Logger.Warn("the proxy did not drain in time and was killed", "grace", e.o.Grace)
	}
}
