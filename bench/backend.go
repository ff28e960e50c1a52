package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.Chmod(dir, 0o777) // nginx's worker is another user
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// answers reports whether an HTTP server answers with 200.
func answers(addr string) bool {
	c := http.Client{Timeout: time.Second}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == 200
}

// nginxBackendConf writes the configuration of the server behind the proxies: a short answer, and files of
// several sizes.
func (l *lab) nginxBackendConf(name, addr string) (string, error) {
	dir := filepath.Join(l.dir, name)
	if err := mkdir(dir); err != nil {
		return "", err
	}
	files := ""
	for _, f := range []struct {
		name string
		size int
	}{{"1k", 1 << 10}, {"16k", 16 << 10}, {"64k", 64 << 10}, {"256k", 256 << 10}, {"1m", 1 << 20}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(strings.Repeat("x", f.size)), 0o644); err != nil {
			return "", err
		}
		files += fmt.Sprintf("location = /%s { root %s; } ", f.name, dir)
	}
	return l.file(name+".conf", fmt.Sprintf(`daemon off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 16384; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; %[2]s
 server { listen %[3]s; %[4]s location / { default_type text/plain; return 200 "%[5]s\n"; } }
}
`, dir, nginxScratch(dir), addr, files, strings.Repeat("0123456789", 10)))
}

// nginxBackend runs the HTTP/1.1 server behind the proxies, one for each lab.
func (l *lab) nginxBackend() (string, error) {
	for _, p := range l.procs {
		if addr, ok := strings.CutPrefix(p.name, "backend "); ok {
			return addr, nil
		}
	}
	path, err := look("nginx")
	if err != nil {
		return "", err
	}
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	conf, err := l.nginxBackendConf("backend", addr)
	if err != nil {
		return "", err
	}
	p, err := l.start("backend "+addr, path, "-c", conf)
	if err != nil {
		return "", err
	}
	return addr, p.listening(addr)
}

func (l *lab) grpcBackend() (string, error) { return l.ownBackend("grpc-server") }

func (l *lab) echoBackend() (string, error) { return l.ownBackend("echo-server") }

// ownBackend runs a server of this program.
func (l *lab) ownBackend(kind string) (string, error) {
	addr, err := freePort()
	if err != nil {
		return "", err
	}
	p, err := l.startSelf(kind, kind, addr)
	if err != nil {
		return "", err
	}
	return addr, p.listening(addr)
}
