package agent

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// fillServices puts the contents of files into what services say of TLS to their endpoints. Only an egress gateway
// begins such TLS for others, so that only there files are meant. With lenient a service whose files cannot be read is
// left without endpoints: without its certificate a connection would be another one than was asked for.
func (e *edge) fillServices(r *certificateReader, s *model.Snapshot, lenient bool) error {
	if !e.a.o.Egress {
		return nil
	}
	s.Services = slices.Clone(s.Services)
	for i := range s.Services {
		svc := &s.Services[i]
		if svc.Upstream == nil || svc.Upstream.TLS == nil {
			continue
		}
		tls, err := r.fillTLS(*svc.Upstream.TLS)
		if err != nil && !lenient {
			return fmt.Errorf("service %s: tls: %w", svc.Name, err)
		}
		if err != nil {
			e.a.log.Error("a service outside the mesh cannot be reached", "service", svc.Name.String(), "error", err)
			svc.Endpoints = nil
		}
		up := *svc.Upstream
		up.TLS = tls
		svc.Upstream = &up
	}
	return nil
}

// fillTLS returns the settings with contents for names of files; nil when one cannot be read.
func (r *certificateReader) fillTLS(t model.UpstreamTLS) (*model.UpstreamTLS, error) {
	if err := r.text(&t.CA, &t.CAFile); err != nil {
		return nil, err
	}
	if err := r.text(&t.Revoked, &t.RevokedFile); err != nil {
		return nil, err
	}
	if c := t.Certificate; c != nil && c.ChainFile != "" {
		chain, err := r.read(c.ChainFile)
		if err != nil {
			return nil, err
		}
		key, err := r.read(c.KeyFile)
		if err != nil {
			return nil, err
		}
		t.Certificate = &model.Certificate{Chain: string(chain), Key: model.Secret(key)}
	}
	return &t, nil
}
