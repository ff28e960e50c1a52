package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// subject is a proxy at work: where it is called and which processes are counted. One without processes is
// no proxy: the backend itself, to compare latencies with.
type subject struct {
	name string
	addr string
	pids []int
}

// protocol is what a hop speaks to both sides.
type protocol string

const (
	http1 protocol = "http1"
	http2 protocol = "http2" // with prior knowledge
	tcp   protocol = "tcp"
	tls1  protocol = "tls" // HTTP/1.1 under TLS from the client, plain behind
)

// hop is one proxy between client and backend.
type hop struct {
	protocol protocol
	backend  string
	workers  int // threads, processes, event loops
	routes   int // that lead to the backend; the last one is used
	log      bool
	policies bool // Weft: every filter and policy that a request can meet without being answered by it
}

// errMissing is a program that is not installed.
type errMissing struct{ program string }

func (e errMissing) Error() string { return e.program + " is not installed: run make bench-deps" }

// errCannot is a proxy that cannot do what a scenario asks.
var errCannot = errors.New("cannot do this")

// look finds a program.
func look(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		return "", errMissing{name}
	}
	return path, nil
}

// lookEnvoy finds Envoy, or what bench-deps has installed.
func lookEnvoy() (string, error) {
	if path, err := exec.LookPath("envoy"); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("bench/.deps/envoy/lib/python*/site-packages/envoy/_bin/envoy")
	if len(found) == 0 {
		return "", errMissing{"envoy"}
	}
	return filepath.Abs(found[0])
}

// maker starts a proxy.
type maker struct {
	name, proxy string
	hop         func(*lab, hop) (*subject, error)
}

func (o *options) makers() []maker {
	var out []maker
	for _, b := range o.builds() {
		out = append(out, maker{b.name, "weft", func(l *lab, h hop) (*subject, error) { return l.weftHop(b, h) }})
	}
	return append(out,
		maker{"nginx", "nginx", (*lab).nginxHop},
		maker{"haproxy", "haproxy", (*lab).haproxyHop},
		maker{"envoy", "envoy", (*lab).envoyHop},
	)
}

// nginxScratch are the directories that nginx wants to write to.
func nginxScratch(dir string) string {
	var s string
	for _, d := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		s += fmt.Sprintf("%s_temp_path %s/%s;\n", d, dir, d)
	}
	return s
}

// nginxWorkers waits for nginx and returns its workers.
func nginxWorkers(p *process, addr string) ([]int, error) {
	if err := p.listening(addr); err != nil {
		return nil, err
	}
	return children(p.pid()), nil
}

func (l *lab) nginxHop(h hop) (*subject, error) {
	path, err := look("nginx")
	if err != nil {
		return nil, err
	}
	if h.protocol == http2 {
		return nil, errCannot // it speaks HTTP/1.1 to backends (and gRPC with grpc_pass, measured there)
	}
	if h.protocol == tcp && !exists(nginxStream) {
		return nil, errMissing{"nginx's stream module"}
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := l.dir + "/nginx"
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	access := "access_log off;"
	if h.log {
		access = "access_log " + dir + "/access.log combined buffer=32k;"
	}
	listen, secure := addr, ""
	if h.protocol == tls1 {
		c, err := l.certificates()
		if err != nil {
			return nil, err
		}
		listen += " ssl"
		secure = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;", c.serverCert, c.serverKey)
	}
	body := fmt.Sprintf(`http { %s %s keepalive_requests 1000000000;
 upstream backend { server %s; keepalive 256; keepalive_requests 1000000000; }
 server { listen %s; %s location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}`, access, nginxScratch(dir), h.backend, listen, secure)
	if h.protocol == tcp {
		body = fmt.Sprintf("stream { server { listen %s; proxy_pass %s; tcp_nodelay on; } }", addr, h.backend)
	}
	conf, err := l.file("nginx-hop.conf", fmt.Sprintf("daemon off; %sworker_processes %d; pid %s/pid; error_log %s/error.log;\nevents { worker_connections 16384; }\n%s\n",
		nginxModules(h.protocol), h.workers, dir, dir, body))
	if err != nil {
		return nil, err
	}
	p, err := l.start("nginx", path, "-c", conf)
	if err != nil {
		return nil, err
	}
	pids, err := nginxWorkers(p, addr)
	return &subject{"nginx", addr, pids}, err
}

// nginxStream is the module for TCP, as Debian builds it.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

// nginxModules loads what is not part of the program.
func nginxModules(p protocol) string {
	if p == tcp {
		return "load_module " + nginxStream + "; "
	}
	return ""
}

const haproxyHead = `global
  nbthread %d
  maxconn 4000
  tune.ssl.cachesize 0
defaults
  mode %s
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
  %s
`

func (l *lab) haproxyHop(h hop) (*subject, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	mode, option, bind, server := "http", "", "", ""
	switch h.protocol {
	case http2:
		bind, server = "proto h2", "proto h2"
	case tcp:
		mode, option = "tcp", "option splice-auto"
	case tls1:
		c, err := l.certificates()
		if err != nil {
			return nil, err
		}
		bind = "ssl crt " + c.serverBoth + " ssl-min-ver TLSv1.3 no-tls-tickets"
	}
	if h.log {
		option = "log stdout format raw local0\n  option httplog"
	}
	conf := fmt.Sprintf(haproxyHead, h.workers, mode, option) +
		fmt.Sprintf("frontend f\n  bind %s %s\n  default_backend b\nbackend b\n  server s %s %s\n", addr, bind, h.backend, server)
	return l.haproxy("haproxy", "haproxy-hop.cfg", conf, addr)
}

// haproxy runs HAProxy with a configuration.
func (l *lab) haproxy(name, file, conf, addr string) (*subject, error) {
	path, err := look("haproxy")
	if err != nil {
		return nil, err
	}
	cfg, err := l.file(file, conf)
	if err != nil {
		return nil, err
	}
	p, err := l.start(name, path, "-db", "-f", cfg)
	if err != nil {
		return nil, err
	}
	return &subject{name, addr, []int{p.pid()}}, p.listening(addr)
}
