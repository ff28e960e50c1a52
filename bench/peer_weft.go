package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// weftHop runs `weft gateway` and counts its weft-proxy.
func (l *lab) weftHop(b build, h hop) (*subject, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.dir, b.name)
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	doc, err := l.gatewayDocument(h, addr)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "edge.yaml"), []byte(doc), 0o644); err != nil {
		return nil, err
	}
	admin, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"gateway", "-f", dir, "--bind", "127.0.0.1", "--loops", strconv.Itoa(h.workers), "--admin", admin}
	if h.log {
		args = append(args, "--access-log", filepath.Join(l.dir, "weft.log"))
	}
	path := filepath.Join(b.dir, "weft")
	if !exists(path) {
		return nil, errMissing{path}
	}
	p, err := l.start("weft", path, args...)
	if err != nil {
		return nil, err
	}
	if err := p.listening(addr); err != nil {
		return nil, err
	}
	pid, ok := childRunning(p.pid(), "weft-proxy")
	if !ok {
		return nil, fmt.Errorf("weft gateway has no weft-proxy: %s", p.said)
	}
	return &subject{b.name, addr, []int{pid}}, nil
}

// gatewayDocument writes a hop as Gateway API documents.
func (l *lab) gatewayDocument(h hop, addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	host, backendPort, err := net.SplitHostPort(h.backend)
	if err != nil {
		return "", err
	}
	listener, app, kind := "protocol: HTTP", "http", "HTTPRoute"
	version := "gateway.networking.k8s.io/v1"
	switch h.protocol {
	case http2:
		app = "kubernetes.io/h2c"
	case tcp:
		listener, app, kind, version = "protocol: TCP", "tcp", "TCPRoute", "gateway.networking.k8s.io/v1alpha2"
	case tls1:
		c, err := l.certificates()
		if err != nil {
			return "", err
		}
		listener = fmt.Sprintf("protocol: HTTPS, tls: {mode: Terminate, options: {weft.dev/certificate-file: %s, weft.dev/key-file: %s}}", c.serverCert, c.serverKey)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: in, port: %s, %s}]}
---
apiVersion: v1
kind: Service
metadata: {name: backend}
spec: {ports: [{name: main, port: 80, appProtocol: %s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: backend-1, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
ports: [{name: main, port: %s}]
endpoints: [{addresses: [%s]}]
`, port, listener, app, backendPort, host)
	const perRoute = 16 // rules, at most (Gateway API, HTTPRouteSpec)
	for first := 0; first < h.routes; first += perRoute {
		fmt.Fprintf(&b, "---\napiVersion: %s\nkind: %s\nmetadata: {name: route-%d}\nspec:\n  parentRefs: [{name: edge}]\n  rules:\n", version, kind, first)
		for i := first; i < min(first+perRoute, h.routes); i++ {
			match := ""
			if kind == "HTTPRoute" && h.routes > 1 {
				match = fmt.Sprintf("matches: [{path: {type: PathPrefix, value: /route-%d}}], ", i)
			}
			filters := ""
			if h.policies {
				filters = routeFilters
			}
			fmt.Fprintf(&b, "  - {%s%sbackendRefs: [{name: backend, port: 80}]}\n", match, filters)
		}
	}
	if h.policies {
		b.WriteString(allPolicies)
	}
	return b.String(), nil
}

// routeFilters and allPolicies are what scenario "policies" adds to a route and its service.
const routeFilters = `filters: [` +
	`{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-one, value: "1"}], remove: [x-two]}}, ` +
	`{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-three, value: "3"}]}}, ` +
	`{type: URLRewrite, urlRewrite: {hostname: inner.example}}, ` +
	`{type: CORS, cors: {allowOrigins: ["https://example.com"]}}], ` +
	`timeouts: {request: 10s, backendRequest: 5s}, retry: {attempts: 2, codes: [503]}, `

const allPolicies = `---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: backend}
spec:
  targetRefs: [{kind: Service, name: backend}]
  timeouts: {idle: 30s, connect: 1s}
  retries: {budget: {percent: 20%}}
  limits: {requests: 100000, connections: 1000, pending: 10000, retries: 1000, requestsPerConnection: 1000000}
  ejection: {consecutive5xx: 5, successRate: {below: 50%}}
  healthCheck: {tcp: {}, interval: 10s}
  loadBalancing: {algorithm: peakEWMA, warmUp: 10s}
  faults: [{matches: [{headers: [{name: end-user, value: jason}]}], abort: {status: 500, percent: 100%}}]
  rateLimits: [{name: all, requests: 1000000, per: 1s}]
`

// weftPair runs a control plane and two sidecars: nginx as the program called, and a program that only waits,
// whose sidecar's local port for the service is what the load calls. Capture is explicit, as the load is not
// a program of the mesh.
func (l *lab) weftPair(ctx context.Context, b build) (*subject, error) {
	weft := filepath.Join(b.dir, "weft")
	if !exists(weft) {
		return nil, errMissing{weft}
	}
	nginx, err := look("nginx")
	if err != nil {
		return nil, err
	}
	backend, err := freePort()
	if err != nil {
		return nil, err
	}
	front, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.dir, b.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	conf, err := l.nginxBackendConf(b.name+"-program", backend)
	if err != nil {
		return nil, err
	}
	// A socket's path has at most 107 bytes (unix(7)).
	socket := filepath.Join(dir, "weft.sock")
	env := []string{"WEFT_SOCKET=" + socket, "XDG_RUNTIME_DIR=" + dir}
	serve, err := l.startWith("weft serve", env, weft, "serve", "--data-dir", filepath.Join(dir, "mesh"), "--socket", socket)
	if err != nil {
		return nil, err
	}
	if err := waitFor(ctx, serve, func() bool { return exists(socket) }); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(backend)
	_, local, _ := net.SplitHostPort(front)
	server, err := l.startWith("weft run web", env, weft, "run", "--service", "web", "--port", "80:"+port+"/http", "--capture", "explicit", "--", nginx, "-c", conf)
	if err != nil {
		return nil, err
	}
	client, err := l.startWith("weft run load", env, weft, "run", "--service", "load", "--upstream", "web:80="+local, "--capture", "explicit", "--", "sleep", "100000")
	if err != nil {
		return nil, err
	}
	s := &subject{name: b.name, addr: front}
	for _, p := range []*process{server, client} {
		var pid int
		if err := waitFor(ctx, p, func() (ok bool) { pid, ok = childRunning(p.pid(), "weft-proxy"); return ok }); err != nil {
			return nil, err
		}
		s.pids = append(s.pids, pid)
	}
	if err := client.listening(front); err != nil {
		return nil, err
	}
	return s, waitFor(ctx, client, func() bool { return answers(front) })
}

// waitFor waits until a condition holds, 20 s at most.
func waitFor(ctx context.Context, p *process, holds func() bool) error {
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.said)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready: %s", p.name, p.said)
		}
	}
	return nil
}
