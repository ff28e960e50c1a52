package control

import (
	"context"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

// settle is how long a change waits for others, so that many at once are compiled once.
const settle = 5 * time.Millisecond

// publish compiles after each change of the state and brings the result to the proxies, until ctx ends.
func (s *Server) publish(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.state.changed:
		}
		timer := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		s.compile()
	}
}

// compile makes the mesh of the present state what proxies are brought to. Where nothing that is compiled
// has changed, only the revision moves.
func (s *Server) compile() {
	v, dirty := s.state.read(true)
	mesh := s.mesh.Load()
	if dirty || mesh == nil {
		began := time.Now()
		mesh, _ = config.Compile(v.input(s.ca.TrustDomain()))
		s.stats.compiles.Observe(time.Since(began).Seconds())
		s.quotas.know(mesh.GlobalLimits())
	} else {
		again := *mesh
		mesh = &again
	}
	mesh.Revision = v.revision
	s.quotas.members(s.state.peers())
	s.mesh.Store(mesh)
	s.stats.revision.Set(float64(v.revision))
	s.xds.Publish(forProxies(mesh))
}

// forProxies is a mesh as the server of proxies takes it.
func forProxies(mesh *config.Mesh) *xds.Mesh {
	return &xds.Mesh{
		Revision: mesh.Revision, TrustDomain: mesh.TrustDomain, Services: mesh.Services,
		For: func(n model.ServiceName, w *model.Workload) (*model.Service, string) {
			client := mesh.ClientOf(n, w)
			if !mesh.HasOwnRules(n, client) {
				return nil, ""
			}
			svc, _ := mesh.ServiceFor(n, client)
			return &svc, client
		},
		Sidecar: mesh.Sidecar, Addressed: mesh.Addressed, Inbound: mesh.Inbound,
		Gateway: func(name model.ServiceName, bind []netip.Addr) []model.Socket {
			return mesh.Gateway(name.Namespace, name.Name, bind)
		},
		Selected: mesh.Selected,
		Egress:   mesh.Egress,
		ClientCertificate: func(name model.ServiceName) *model.Certificate {
			return mesh.ClientCertificate(name.Namespace, name.Name)
		},
		Secret: mesh.Secret,
	}
}
