package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tokens is an authorization service by ext_authz that knows one token.
type tokens struct {
	authv3.UnimplementedAuthorizationServer
}

func (tokens) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if r.GetAttributes().GetRequest().GetHttp().GetHeaders()["authorization"] != "good" {
		return &authv3.CheckResponse{Status: status.New(codes.PermissionDenied, "a bad token").Proto()}, nil
	}
	return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-asked-by", Value: r.GetAttributes().GetSource().GetPrincipal()}}},
	}}}, nil
}

// authServer serves tokens on a port until SIGTERM.
func authServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, tokens{})
	go func() {
		<-stop
		server.Stop()
	}()
	return server.Serve(ln)
}

// TestExternalAuthInTheMesh: the clients' proxies ask by ext_authz over the mesh; when the service has left nobody passes.
func TestExternalAuthInTheMesh(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.httpService("web", "v1")
	port := fmt.Sprint(freePort(t))
	auth := m.actor("auth-server", port, nil, "--service", "auth", "--port", "80:"+port)
	m.ready("web", 1)
	m.ready("auth", 1)
	m.must("apply", "--wait", "-f", m.file("route.yaml", `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
  - filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: auth, port: 80}}}]
    backendRefs: [{name: web, port: 80}]
`))
	get := func(token string) string {
		r := m.once("load", "curl", "-sS", "-o", "/dev/null", "-H", "authorization: "+token, "-w", "%{http_code} %header{weft-failure} %header{x-asked-by}", "http://web/")
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		return r.stdout
	}
	if got, want := get("good"), "200  spiffe://mesh.local/ns/default/sa/load"; got != want {
		t.Errorf("with the token: %q, want %q", got, want)
	}
	if got, want := get("bad"), "403 denied "; got != want {
		t.Errorf("without: %q, want %q", got, want)
	}
	auth.stop(syscall.SIGTERM)
	m.ready("auth", 0)
	eventually(t, 30*time.Second, "nobody passes without the service", func() error {
		if got, want := get("good"), "503 unchecked "; got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// TestExternalAuth: a service by HTTP says who may pass a gateway from files, and is asked anew when it has moved.
func TestExternalAuth(t *testing.T) {
	auth := serveHTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "good" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, "no entry to %s", r.URL.Path)
			return
		}
		w.Header().Set("x-user", "anna")
	})
	web := serveHTTP(t, false, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("x-user")) })
	port := freePort(t)
	route := func(service string) string {
		return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: edge}]
  rules:
  - filters:
    - type: ExternalAuth
      externalAuth: {protocol: HTTP, backendRef: {name: %s, port: 80}, http: {path: /check, allowedResponseHeaders: [x-user]}}
    backendRefs: [{name: web, port: 80}]
`, service)
	}
	g := &guarded{
		client: &http.Client{Timeout: 20 * time.Second},
		edge: runEdge(t, port, map[string]string{
			"edge.yaml": edgeDocument(port, route("auth")), "web.yaml": fleetService(web), "auth.yaml": service("auth", auth),
		}),
	}
	t.Cleanup(g.client.CloseIdleConnections)
	if status, body := g.get("authorization", "good", "x-user", "mallory"); status != 200 || body != "anna" {
		t.Errorf("allowed: %d %q", status, body)
	}
	if status, body := g.get(); status != 401 || body != "no entry to /check/" {
		t.Errorf("denied: %d %q", status, body)
	}
	g.write("edge.yaml", edgeDocument(port, route("absent")))
	eventually(t, 30*time.Second, "without the service nobody passes", func() error {
		if status, body := g.get("authorization", "good"); status != 500 {
			return fmt.Errorf("%d %q", status, body)
		}
		return nil
	})
}
