package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// envoyAddress writes a socket address.
func envoyAddress(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", host, port)
}

const envoyBreakers = "circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 1000000, max_retries: 100}]}"

// envoyHTTP2 makes a cluster speak HTTP/2.
const envoyHTTP2 = `
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}`

// envoyConfig is a listener and a cluster. downstream and upstream are their TLS contexts, if any.
type envoyConfig struct {
	listen, backend      string
	filter               string // network filter
	http2                bool   // to the backend
	downstream, upstream string
}

// envoyRouter is an HTTP connection manager with one route.
func envoyRouter(log string) string {
	return `
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: hop
          codec_type: AUTO
          generate_request_id: true` + log + `
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: backend, timeout: 0s}}]}]}
          http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]`
}

const envoyTCP = `
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: hop, cluster: backend}`

func (c envoyConfig) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "static_resources:\n  listeners:\n  - name: in\n    address: %s\n    filter_chains:\n    - filters:%s\n", envoyAddress(c.listen), c.filter)
	if c.downstream != "" {
		fmt.Fprintf(&b, "      transport_socket: {name: envoy.transport_sockets.tls, typed_config: %s}\n", c.downstream)
	}
	fmt.Fprintf(&b, "  clusters:\n  - name: backend\n    type: STATIC\n    %s\n    load_assignment: {cluster_name: backend, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}",
		envoyBreakers, envoyAddress(c.backend))
	if c.http2 {
		b.WriteString(envoyHTTP2)
	}
	if c.upstream != "" {
		fmt.Fprintf(&b, "\n    transport_socket: {name: envoy.transport_sockets.tls, typed_config: %s}", c.upstream)
	}
	b.WriteString("\n")
	return b.String()
}

// envoy runs Envoy with a configuration.
func (l *lab) envoy(name string, workers int, c envoyConfig) (*subject, error) {
	path, err := lookEnvoy()
	if err != nil {
		return nil, err
	}
	conf, err := l.file(name+".yaml", c.yaml())
	if err != nil {
		return nil, err
	}
	// A base id of its own: several Envoys of one machine share memory by it.
	p, err := l.start(name, path, "-c", conf, "--concurrency", strconv.Itoa(workers), "--use-dynamic-base-id", "-l", "error", "--disable-hot-restart")
	if err != nil {
		return nil, err
	}
	return &subject{name, c.listen, []int{p.pid()}}, p.listening(c.listen)
}

func (l *lab) envoyHop(h hop) (*subject, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	c := envoyConfig{listen: addr, backend: h.backend, filter: envoyRouter(""), http2: h.protocol == http2}
	switch {
	case h.protocol == tcp:
		c.filter = envoyTCP
	case h.protocol == tls1:
		certs, err := l.certificates()
		if err != nil {
			return nil, err
		}
		c.downstream = certs.envoyServer(false, "http/1.1")
	case h.log:
		c.filter = envoyRouter(fmt.Sprintf(`
          access_log: [{name: envoy.access_loggers.file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %s/envoy.log}}]`, l.dir))
	}
	return l.envoy("envoy", h.workers, c)
}

// envoyServer is the TLS context of a listener, with clients' certificates asked for or not.
func (c *certificates) envoyServer(mutual bool, alpn string) string {
	s := fmt.Sprintf(`{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: %v, disable_stateless_session_resumption: true, common_tls_context: {alpn_protocols: [%q], tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}, tls_certificates: [{certificate_chain: {filename: %s}, private_key: {filename: %s}}]`,
		mutual, alpn, c.serverCert, c.serverKey)
	if mutual {
		s += fmt.Sprintf(`, validation_context: {trusted_ca: {filename: %s}}`, c.ca)
	}
	return s + "}}"
}

// envoyClient is the TLS context of a cluster.
func (c *certificates) envoyClient(alpn string) string {
	return fmt.Sprintf(`{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {alpn_protocols: [%q], tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}, tls_certificates: [{certificate_chain: {filename: %s}, private_key: {filename: %s}}], validation_context: {trusted_ca: {filename: %s}}}}`,
		alpn, c.clientCert, c.clientKey, c.ca)
}
