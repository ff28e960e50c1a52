package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

const (
	probeStarting = 50 * time.Millisecond // between probes until the program is there
	probeRunning  = time.Second           // ... and after
	probeTimeout  = time.Second
	failedProbes  = 2                // in a row take a registered endpoint out
	leaseTTL      = 30 * time.Second // how long an endpoint outlives a proxy that is gone
	refreshEvery  = leaseTTL / 3
	leaveSettle   = 200 * time.Millisecond // for other proxies to hear that we left
)

// registrar keeps the workload's endpoint in the registry exactly while its program is fit to serve.
type registrar struct {
	a      *Agent
	client discoveryv1connect.DiscoveryServiceClient
	probe  *http.Client

	mu         sync.Mutex
	registered bool
	leaving    bool
	refreshed  time.Time
	failures   int
}

func newRegistrar(a *Agent) *registrar {
	return &registrar{
		a:      a,
		client: discoveryv1connect.NewDiscoveryServiceClient(a.source.HTTPClient(), a.source.BaseURL()),
		probe: &http.Client{
			Timeout:   probeTimeout,
			Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
		},
	}
}

// run probes the program and tells the registry of every change, and of life, until ctx ends.
func (r *registrar) run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := probeStarting
		if r.step(ctx, r.healthy(ctx)) {
			wait = probeRunning
		}
		select {
		case <-ctx.Done():
		case <-time.Tick(wait):
		}
	}
	return nil
}

// step acts on one probe and reports whether the endpoint is registered.
func (r *registrar) step(ctx context.Context, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.leaving:
	case err == nil:
		r.failures = 0
		if !r.registered || time.Since(r.refreshed) > refreshEvery {
			r.register(ctx)
		}
	case r.registered:
		if r.failures++; r.failures >= failedProbes {
			r.a.log.Warn("the program does not answer: taken out of the mesh", "error", err)
			r.deregister(ctx)
		}
	}
	return r.registered
}

// register puts the endpoint in, or refreshes its lease. A failure is tried again with the next probe.
func (r *registrar) register(ctx context.Context) {
	req := &discoveryv1.RegisterRequest{
		Service: r.a.o.Service, Address: r.a.meshAddress().String(), Labels: r.a.o.Labels,
		TtlSeconds: uint32(leaseTTL / time.Second), Id: r.a.o.ID,
	}
	for _, p := range r.a.o.Ports {
		req.Ports = append(req.Ports, &discoveryv1.Port{Number: uint32(p.ServicePort), Protocol: string(p.Protocol)})
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := r.client.Register(ctx, connect.NewRequest(req)); err != nil {
		r.a.log.Debug("registration failed", "error", err)
		return
	}
	if !r.registered {
		r.a.log.Info("registered", "service", r.a.o.Service, "address", req.Address)
	}
	r.registered, r.refreshed = true, time.Now()
}

func (r *registrar) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := r.client.Deregister(ctx, connect.NewRequest(&discoveryv1.DeregisterRequest{Id: r.a.o.ID})); err != nil {
		// The lease ends it.
		r.a.log.Debug("deregistration failed", "error", err)
	}
	r.registered, r.failures = false, 0
}

// leave takes the endpoint out for good and gives other proxies time to hear of it.
func (r *registrar) leave(ctx context.Context) {
	r.mu.Lock()
	had := r.registered
	r.leaving = true
	if had {
		r.deregister(ctx)
	}
	r.mu.Unlock()
	if had {
		select {
		case <-ctx.Done():
		case <-time.Tick(leaveSettle):
		}
	}
}

// healthy probes the program: every port accepts, and the health path, if there is one, answers 2xx.
func (r *registrar) healthy(ctx context.Context) error {
	for i, p := range r.a.o.Ports {
		addr := fmt.Sprintf("127.0.0.1:%d", p.Port)
		if i == 0 && r.a.o.Health != "" && p.Protocol != model.TCP {
			if err := r.get(ctx, "http://"+addr+"/"+strings.TrimPrefix(r.a.o.Health, "/")); err != nil {
				return err
			}
			continue
		}
		d := net.Dialer{Timeout: probeTimeout}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}

func (r *registrar) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "weft-proxy-health")
	resp, err := r.probe.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// meshAddress is where other proxies reach this one.
func (a *Agent) meshAddress() netip.AddrPort {
	at := a.engine.Addrs().Inbound
	if a.o.Advertise.IsValid() {
		return netip.AddrPortFrom(a.o.Advertise, at.Port())
	}
	return at
}
