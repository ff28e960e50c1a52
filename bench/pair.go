package main

import (
	"fmt"
)

// nginxPair is two nginx with mutual TLS 1.3 between them; they speak HTTP/1.1 there.
func (l *lab) nginxPair(backend string) (*subject, error) {
	path, err := look("nginx")
	if err != nil {
		return nil, err
	}
	c, err := l.certificates()
	if err != nil {
		return nil, err
	}
	front, err := freePort()
	if err != nil {
		return nil, err
	}
	middle, err := freePort()
	if err != nil {
		return nil, err
	}
	server := fmt.Sprintf("listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; ssl_client_certificate %s; ssl_verify_client on; ssl_protocols TLSv1.3; location / { proxy_pass http://next; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
		middle, c.serverCert, c.serverKey, c.ca)
	client := fmt.Sprintf("listen %s; location / { proxy_pass https://next; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_ssl_certificate %s; proxy_ssl_certificate_key %s; proxy_ssl_trusted_certificate %s; proxy_ssl_verify on; proxy_ssl_name backend; proxy_ssl_protocols TLSv1.3; }",
		front, c.clientCert, c.clientKey, c.ca)
	s := &subject{name: "nginx", addr: front}
	for _, side := range []struct{ name, next, server, addr string }{
		{"nginx-b", backend, server, middle}, {"nginx-a", middle, client, front},
	} {
		dir := l.dir + "/" + side.name
		if err := mkdir(dir); err != nil {
			return nil, err
		}
		conf, err := l.file(side.name+".conf", fmt.Sprintf(`daemon off; worker_processes 1; pid %s/pid; error_log %s/error.log;
events { worker_connections 16384; }
http { access_log off; %s keepalive_requests 1000000000;
 upstream next { server %s; keepalive 256; keepalive_requests 1000000000; }
 server { %s }
}
`, dir, dir, nginxScratch(dir), side.next, side.server))
		if err != nil {
			return nil, err
		}
		p, err := l.start(side.name, path, "-c", conf)
		if err != nil {
			return nil, err
		}
		pids, err := nginxWorkers(p, side.addr)
		if err != nil {
			return nil, err
		}
		s.pids = append(s.pids, pids...)
	}
	return s, nil
}

// haproxyPair is two HAProxy with mutual TLS 1.3 and alpn ("h2" or "http/1.1") between them.
func (l *lab) haproxyPair(name, alpn, backend string) (*subject, error) {
	c, err := l.certificates()
	if err != nil {
		return nil, err
	}
	front, err := freePort()
	if err != nil {
		return nil, err
	}
	middle, err := freePort()
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf(haproxyHead, 1, "http", "")
	b, err := l.haproxy(name+"-b", name+"-b.cfg", head+fmt.Sprintf("frontend f\n  bind %s ssl crt %s ca-file %s verify required alpn %s ssl-min-ver TLSv1.3\n  default_backend b\nbackend b\n  server s %s\n",
		middle, c.serverBoth, c.ca, alpn, backend), middle)
	if err != nil {
		return nil, err
	}
	a, err := l.haproxy(name+"-a", name+"-a.cfg", head+fmt.Sprintf("frontend f\n  bind %s\n  default_backend b\nbackend b\n  server s %s ssl crt %s ca-file %s verify required verifyhost backend alpn %s ssl-min-ver TLSv1.3\n",
		front, middle, c.clientBoth, c.ca, alpn), front)
	if err != nil {
		return nil, err
	}
	return &subject{name, front, append(a.pids, b.pids...)}, nil
}

// envoyPair is two Envoys with mutual TLS 1.3 and alpn between them.
func (l *lab) envoyPair(name, alpn, backend string) (*subject, error) {
	c, err := l.certificates()
	if err != nil {
		return nil, err
	}
	front, err := freePort()
	if err != nil {
		return nil, err
	}
	middle, err := freePort()
	if err != nil {
		return nil, err
	}
	b, err := l.envoy(name+"-b", 1, envoyConfig{listen: middle, backend: backend, filter: envoyRouter(""), downstream: c.envoyServer(true, alpn)})
	if err != nil {
		return nil, err
	}
	a, err := l.envoy(name+"-a", 1, envoyConfig{listen: front, backend: middle, filter: envoyRouter(""), http2: alpn == "h2", upstream: c.envoyClient(alpn)})
	if err != nil {
		return nil, err
	}
	return &subject{name, front, append(a.pids, b.pids...)}, nil
}
