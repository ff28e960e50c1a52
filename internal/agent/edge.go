package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	maxCertificate  = 1 << 20     // bytes of a certificate or key file
	lookAtFiles     = time.Second // how often the files are looked at
	certificatesHow = "start it with --certificates DIR"
)

// edge puts certificates into the listeners of a mesh's gateway, and into what a proxy begins TLS to services outside with, which the control plane knows by the names of their
// files alone, and follows the files. A snapshot whose files cannot be read is refused, and asked for again when they
// can; the first one runs without the listeners concerned.
type edge struct {
	a       *Agent
	managed *managed // certificates by ACME; nil: there are none

	mu      sync.Mutex // snapshots come from the stream, changed files from run
	asked   *model.Snapshot
	refused *model.Snapshot
	files   map[string]fileMark
	sockets []string // that the log has told of
}

// fileMark tells whether a file is another one. The zero value is of one that cannot be read.
type fileMark struct {
	size int64
	at   time.Time
}

func newEdge(a *Agent) *edge {
	e := &edge{a: a, files: map[string]fileMark{}}
	if a.o.Managed != nil {
		e.managed = newManaged(a.o.Managed, a.log)
	}
	return e
}

// apply makes the engine run a snapshot with its certificates; an error refuses it.
func (e *edge) apply(s *model.Snapshot) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	full, files, err := e.fill(s, e.asked == nil)
	if err != nil {
		e.refused, e.files = s, files
		return err
	}
	if err := e.put(full); err != nil {
		return err
	}
	e.asked, e.refused, e.files = s, nil, files
	e.tell()
	return nil
}

// put makes the engine run a snapshot whose files have been read.
func (e *edge) put(full *model.Snapshot) error {
	full, line := e.managed.complete(full, e.a.log)
	if err := e.a.apply(full); err != nil {
		return err
	}
	e.managed.applied(line)
	return nil
}

// renew applies certificates that came by ACME.
func (e *edge) renew() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.asked == nil || !e.managed.stale() {
		return
	}
	full, files, err := e.fill(e.asked, true)
	if err == nil {
		e.files = files
		err = e.put(full)
	}
	if err != nil {
		e.a.log.Error("certificates by ACME are not applied", "error", err)
	}
}

// tell logs where the gateway listens, when that has changed.
func (e *edge) tell() {
	at := slices.Sorted(maps.Values(e.a.sockets()))
	if slices.Equal(at, e.sockets) {
		return
	}
	e.sockets = at
	e.a.log.Info("listening", "gateway", e.a.o.Service, "addresses", at)
}

// run looks at the files until ctx ends.
func (e *edge) run(ctx context.Context) error {
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			e.look()
		case <-e.managed.changedOf():
			e.renew()
		}
	}
}

// look applies certificates that have changed.
func (e *edge) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.changed() {
		return
	}
	if e.refused != nil {
		_, files, err := e.fill(e.refused, false)
		if e.files = files; err == nil {
			e.a.client.Again()
		}
		return
	}
	full, files, err := e.fill(e.asked, false)
	e.files = files
	if err == nil {
		err = e.put(full)
	}
	if err != nil {
		e.a.log.Error("changed certificates cannot be used: those before go on", "error", err)
		return
	}
	e.a.log.Info("certificates are read again")
	e.tell()
}

func (e *edge) changed() bool {
	root, err := os.OpenRoot(e.a.o.Certificates)
	if err != nil || len(e.files) == 0 {
		return false // there are no files to follow
	}
	defer root.Close()
	for name, was := range e.files {
		if markOf(root, name) != was {
			return true
		}
	}
	return false
}

func markOf(root *os.Root, name string) fileMark {
	st, err := root.Stat(name)
	if err != nil {
		return fileMark{}
	}
	return fileMark{st.Size(), st.ModTime()}
}

// fill returns a snapshot with the contents of the files that its listeners name, and the state of the files. With
// lenient it leaves out listeners whose files cannot be read.
func (e *edge) fill(s *model.Snapshot, lenient bool) (*model.Snapshot, map[string]fileMark, error) {
	r := &certificateReader{dir: e.a.o.Certificates, files: map[string]fileMark{}}
	defer r.close()
	out := *s
	out.Workload.Egress = e.a.o.Egress
	out.Sockets = nil
	for _, socket := range s.Sockets {
		listeners := socket.Listeners
		socket.Listeners = nil
		for _, ln := range listeners {
			err := r.fill(&ln)
			if err != nil && !lenient {
				return nil, r.files, fmt.Errorf("listener %s: %w", ln.Name, err)
			}
			if err != nil {
				e.a.log.Error("a listener is not served", "listener", ln.Name, "error", err)
				continue
			}
			socket.Listeners = append(socket.Listeners, ln)
		}
		if len(socket.Listeners) > 0 {
			out.Sockets = append(out.Sockets, socket)
		}
	}
	if err := e.fillServices(r, &out, lenient); err != nil {
		return nil, r.files, err
	}
	return &out, r.files, nil
}

// certificateReader reads files of a directory, and none outside.
type certificateReader struct {
	dir   string
	root  *os.Root // opened for the first file
	files map[string]fileMark
}

func (r *certificateReader) close() {
	if r.root != nil {
		_ = r.root.Close()
	}
}

// fill puts the contents of files in place of their names.
func (r *certificateReader) fill(ln *model.Listener) error {
	ln.Certificates = slices.Clone(ln.Certificates)
	for i := range ln.Certificates {
		c := &ln.Certificates[i]
		if c.ChainFile == "" {
			continue
		}
		chain, err := r.read(c.ChainFile)
		if err != nil {
			return err
		}
		key, err := r.read(c.KeyFile)
		if err != nil {
			return err
		}
		c.Chain, c.Key, c.ChainFile, c.KeyFile = string(chain), model.Secret(key), "", ""
	}
	for i := range ln.Certificates {
		if err := r.text(&ln.Certificates[i].ClientCA, &ln.Certificates[i].ClientCAFile); err != nil {
			return err
		}
	}
	if c := ln.ClientChecks; c != nil && c.RevokedFile != "" {
		checks := *c
		if err := r.text(&checks.Revoked, &checks.RevokedFile); err != nil {
			return err
		}
		ln.ClientChecks = &checks
	}
	return r.text(&ln.ClientCA, &ln.ClientCAFile)
}

// text reads a file, if one is named, and forgets its name.
func (r *certificateReader) text(into, file *string) error {
	if *file == "" {
		return nil
	}
	b, err := r.read(*file)
	if err == nil {
		*into, *file = string(b), ""
	}
	return err
}

func (r *certificateReader) read(name string) ([]byte, error) {
	if r.dir == "" {
		return nil, fmt.Errorf("it names the file %s, and this proxy has no directory of certificates: %s", name, certificatesHow)
	}
	if r.root == nil {
		root, err := os.OpenRoot(r.dir)
		if err != nil {
			return nil, fmt.Errorf("--certificates: %w", err)
		}
		r.root = root
	}
	r.files[name] = markOf(r.root, name)
	f, err := r.root.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s in %s", name, r.dir)
		}
		return nil, fmt.Errorf("a file of %s: %w", r.dir, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err == nil && len(b) > maxCertificate {
		err = fmt.Errorf("%s has more than 1 MiB", name)
	}
	return b, err
}
