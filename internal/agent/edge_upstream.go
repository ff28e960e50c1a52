package agent

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// fillServices puts the contents of files into what services and backends of rules say of TLS to their endpoints. A proxy
// without a directory of certificates has none of them, which who wrote the document was told of; an egress gateway is
// there to have them, and refuses a snapshot whose files cannot be read. With lenient, and at other proxies, such a
// service is not reached: without its certificate a connection would be another one than was asked for.
func (e *edge) fillServices(r *certificateReader, s *model.Snapshot, lenient bool) error {
	if !e.a.o.Egress && e.a.o.Certificates == "" {
		return nil
	}
	f := upstreamFiller{r: r, failed: func(what string, err error) error {
		if e.a.o.Egress && !lenient {
			return fmt.Errorf("%s: tls: %w", what, err)
		}
		e.a.log.Error("endpoints outside the mesh cannot be reached", "by", what, "error", err)
		return nil
	}}
	s.Services = slices.Clone(s.Services)
	for i := range s.Services {
		svc := &s.Services[i]
		what := "service " + svc.Name.String()
		svc.Upstream = f.upstream(what, svc.Upstream)
		svc.Rules = f.rules(what, svc.Rules)
	}
	for i := range s.Sockets {
		for j := range s.Sockets[i].Listeners { // copies: see edge.fill
			ln := &s.Sockets[i].Listeners[j]
			ln.Rules = f.rules("listener "+ln.Name, ln.Rules)
		}
	}
	return f.err
}

// upstreamFiller fills copies, and keeps the first error that failed makes of one that there was.
type upstreamFiller struct {
	r      *certificateReader
	failed func(what string, err error) error
	err    error
}

// upstream returns up with contents for names of files; up itself when it names none. up may be nil.
func (f *upstreamFiller) upstream(what string, up *model.Upstream) *model.Upstream {
	if !namesFiles(up) {
		return up
	}
	tls, err := f.r.fillTLS(*up.TLS)
	if err != nil {
		if err := f.failed(what, err); err != nil && f.err == nil {
			f.err = err
		}
		tls.Invalid = "its files cannot be read: " + err.Error()
	}
	out := *up
	out.TLS = tls
	return &out
}

// rules returns rules whose backends are filled; in itself when there are no files.
func (f *upstreamFiller) rules(what string, in []model.Rule) []model.Rule {
	names := func(b model.Backend) bool { return namesFiles(b.Upstream) }
	if !slices.ContainsFunc(in, func(r model.Rule) bool { return slices.ContainsFunc(r.Backends, names) }) {
		return in
	}
	out := slices.Clone(in)
	for i := range out {
		out[i].Backends = slices.Clone(out[i].Backends)
		for j := range out[i].Backends {
			b := &out[i].Backends[j]
			b.Upstream = f.upstream(what, b.Upstream)
		}
	}
	return out
}

// namesFiles reports whether TLS to endpoints wants files.
func namesFiles(up *model.Upstream) bool {
	if up == nil || up.TLS == nil {
		return false
	}
	t := up.TLS
	return t.CAFile != "" || t.RevokedFile != "" || t.Certificate != nil && t.Certificate.ChainFile != ""
}

// fillTLS returns the settings with contents for names of files. On an error they are as far as they could be read.
func (r *certificateReader) fillTLS(t model.UpstreamTLS) (*model.UpstreamTLS, error) {
	if err := r.text(&t.CA, &t.CAFile); err != nil {
		return &t, err
	}
	if err := r.text(&t.Revoked, &t.RevokedFile); err != nil {
		return &t, err
	}
	if c := t.Certificate; c != nil && c.ChainFile != "" {
		chain, err := r.read(c.ChainFile)
		if err != nil {
			return &t, err
		}
		key, err := r.read(c.KeyFile)
		if err != nil {
			return &t, err
		}
		t.Certificate = &model.Certificate{Chain: string(chain), Key: model.Secret(key)}
	}
	return &t, nil
}
