package redirect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/internal/redirect/origdst"
)

func TestMain(m *testing.M) {
	if job := os.Getenv("WEFT_TEST_CLIENT"); job != "" {
		if err := client(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// lab is a capture whose proxy is the test process itself: it moves into the proxy's group.
type lab struct {
	t   *testing.T
	c   *Capture
	dns *fakeDNS
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if reason, ok := Supported(); !ok {
		if strings.Contains(reason, "refuses") {
			t.Fatal(reason) // that is our fault, not the kernel's lack
		}
		t.Skip("no capture by eBPF here: ", reason)
	}
	l := &lab{t: t, dns: newFakeDNS(t)}
	c, err := Prepare(Options{
		Name:   fmt.Sprintf("test-%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid()),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.c = c
	root := filepath.Dir(filepath.Dir(filepath.Dir(c.Proxy().Name())))
	move(t, c.Proxy().Name())
	t.Cleanup(func() {
		move(t, root)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Dir(c.App().Name())); !os.IsNotExist(err) {
			t.Errorf("control group remains: %v", err)
		}
	})
	// A socket belongs to the group that its process was in when it made it.
	ln := listen(t)
	if err := c.Redirect(ln.Addr().(*net.TCPAddr).AddrPort(), l.dns.addr()); err != nil {
		t.Fatal(err)
	}
	go serve(ln)
	return l
}

func move(t *testing.T, group string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0") // MPTCP, as Go listens by default
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serve answers each connection with an HTTP response whose body is the address it was meant for.
func serve(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			body := "error"
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err == nil {
				_ = raw.Control(func(fd uintptr) {
					if dst, err := origdst.OriginalDst(int(fd)); err != nil {
						body = err.Error()
					} else {
						body = dst.String()
					}
				})
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		}()
	}
}

// fakeDNS answers every A question with 240.240.0.7 and AAAA with nothing.
type fakeDNS struct {
	conn *net.UDPConn
	mu   sync.Mutex
	got  int
}

func newFakeDNS(t *testing.T) *fakeDNS {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	d := &fakeDNS{conn: conn}
	t.Cleanup(func() { conn.Close() })
	go d.serve()
	return d
}

func (d *fakeDNS) addr() netip.AddrPort { return d.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (d *fakeDNS) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got
}

func (d *fakeDNS) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		d.mu.Lock()
		d.got++
		d.mu.Unlock()
		q := m.Questions[0]
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5},
				Body:   &dnsmessage.AResource{A: [4]byte{240, 240, 0, 7}},
			}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = d.conn.WriteToUDPAddrPort(out, from)
		}
	}
}

// run runs a program in the captured group and returns its output.
func (l *lab) run(env []string, name string, args ...string) string {
	l.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		l.t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(l.c.App().Fd())}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

func (l *lab) self(job string, env ...string) string {
	l.t.Helper()
	return l.run(append(env, "WEFT_TEST_CLIENT="+job), "/proc/self/exe")
}

func TestProgramsAreCaptured(t *testing.T) {
	l := newLab(t)
	py := `import socket,sys
s=socket.create_connection(("240.240.3.4",8080)); print(s.getpeername()[0], s.getpeername()[1]); s.send(b"x"); print(s.recv(999).decode().split("\r\n\r\n")[1])`
	pyMapped := `import socket
s=socket.socket(socket.AF_INET6); s.connect(("::ffff:240.240.3.4",8080)); print(*s.getpeername()[:2]); s.send(b"x"); print(s.recv(999).decode().split("\r\n\r\n")[1])`
	pyMPTCP := `import socket
s=socket.socket(socket.AF_INET,socket.SOCK_STREAM,262); s.connect(("240.240.3.4",8080)); print(*s.getpeername()); s.send(b"x"); print(s.recv(999).decode().split("\r\n\r\n")[1])`
	pyBound := `import socket
s=socket.socket(); s.bind(("127.0.0.9",0)); s.connect(("240.240.3.4",8080)); print(*s.getpeername()); s.send(b"x"); print(s.recv(999).decode().split("\r\n\r\n")[1])`
	node := `const s=require("net").connect(8080,process.argv[1],()=>{console.log(s.remoteAddress,s.remotePort);s.write("x")});let b="";s.on("data",d=>b+=d).on("end",()=>console.log(b.split("\r\n\r\n")[1]))`
	for _, c := range []struct {
		name string
		out  func() string
		want string
	}{
		{"curl", func() string {
			return l.run(nil, "curl", "-sS", "-w", "\n%{remote_ip}", "http://240.240.1.2:9080/")
		}, "240.240.1.2:9080\n240.240.1.2"},
		{"python", func() string { return l.run(nil, "python3", "-c", py) }, "240.240.3.4 8080\n240.240.3.4:8080"},
		{"python mapped", func() string { return l.run(nil, "python3", "-c", pyMapped) }, "::ffff:240.240.3.4 8080\n240.240.3.4:8080"},
		{"python MPTCP", func() string { return l.run(nil, "python3", "-c", pyMPTCP) }, "240.240.3.4 8080\n240.240.3.4:8080"},
		{"python bound", func() string { return l.run(nil, "python3", "-c", pyBound) }, "240.240.3.4 8080\n240.240.3.4:8080"},
		{"node", func() string { return l.run(nil, "node", "-e", node, "240.240.5.6") }, "240.240.5.6 8080\n240.240.5.6:8080"},
		{"node mapped", func() string { return l.run(nil, "node", "-e", node, "::ffff:240.240.5.6") }, "::ffff:240.240.5.6 8080\n240.240.5.6:8080"},
		{"go", func() string { return l.self("tcp 240.240.7.8:80") }, "240.240.7.8:80\n240.240.7.8:80"},
		{"go MPTCP", func() string { return l.self("tcp 240.240.7.8:80", "GODEBUG=multipathtcp=1") }, "240.240.7.8:80\n240.240.7.8:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.out(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestManyConnectsMapRight(t *testing.T) {
	l := newLab(t)
	if got := l.self("many 1000"); got != "1000 right" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	l := newLab(t)
	py := `import socket,struct
q=struct.pack(">HHHHHH",7,256,1,0,0,0)+b"\x07reviews\x00\x00\x01\x00\x01"
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q,("192.0.2.53",53)); d,a=s.recvfrom(999); print(*a, socket.inet_ntoa(d[-4:]))`
	py6 := `import socket,struct
q=struct.pack(">HHHHHH",7,256,1,0,0,0)+b"\x07reviews\x00\x00\x01\x00\x01"
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.settimeout(5); s.sendto(q,("::ffff:192.0.2.53",53)); d,a=s.recvfrom(999); print(*a[:2], socket.inet_ntoa(d[-4:]))`
	pyNative := `import socket,struct
q=struct.pack(">HHHHHH",7,256,1,0,0,0)+b"\x07reviews\x00\x00\x01\x00\x01"
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.settimeout(5); s.connect(("2001:db8::53",53)); print(*s.getpeername()[:2]); s.send(q); d,a=s.recvfrom(999); print(*a[:2], socket.inet_ntoa(d[-4:]))`
	for _, c := range []struct{ name, out, want string }{
		{"getent", strings.Fields(l.run(nil, "getent", "ahostsv4", "reviews.default"))[0], "240.240.0.7"},
		{"python", l.run(nil, "python3", "-c", `import socket; print(socket.gethostbyname("reviews.default"))`), "240.240.0.7"},
		{"node", l.run(nil, "node", "-e", `require("dns").lookup("reviews.default",(e,a)=>console.log(e||a))`), "240.240.0.7"},
		{"node c-ares", l.run(nil, "node", "-e", `require("dns").resolve4("reviews.default",(e,a)=>console.log(e||a[0]))`), "240.240.0.7"},
		{"go", l.self("lookup reviews.default", "GODEBUG=netdns=go"), "240.240.0.7"},
		{"curl", l.run(nil, "curl", "-sS", "http://reviews.default:9080/"), "240.240.0.7:9080"},
		{"sendto", l.run(nil, "python3", "-c", py), "192.0.2.53 53 240.240.0.7"},
		{"sendto mapped", l.run(nil, "python3", "-c", py6), "::ffff:192.0.2.53 53 240.240.0.7"},
		{"connected IPv6", l.run(nil, "python3", "-c", pyNative), "2001:db8::53 53\n2001:db8::53 53 240.240.0.7"},
	} {
		if c.out != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.out, c.want)
		}
	}
	if l.dns.count() < 9 {
		t.Errorf("the responder was asked %d times", l.dns.count())
	}
}

// What is not captured goes where it was meant to, and shows no original destination.
func TestOtherTrafficIsUntouched(t *testing.T) {
	l := newLab(t)
	plain := listen(t)
	go serve(plain)
	addr := plain.Addr().String()
	if got := l.self("tcp " + addr); !strings.HasPrefix(got, addr) || !strings.Contains(got, origdst.ErrNotCaptured.Error()) {
		t.Errorf("IPv4: %q", got)
	}
	ln6, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Log("no IPv6 here")
	} else {
		defer ln6.Close()
		go serve(ln6)
		if got := l.self("tcp " + ln6.Addr().String()); !strings.HasPrefix(got, ln6.Addr().String()) {
			t.Errorf("IPv6: %q", got)
		}
	}
	// In the proxy's own group a virtual address does not lead to the proxy.
	d := net.Dialer{Timeout: 300 * time.Millisecond}
	if c, err := d.DialContext(t.Context(), "tcp", "240.240.1.1:80"); err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
		fmt.Fprint(c, "x")
		if got, _ := io.ReadAll(c); strings.Contains(string(got), "240.240.1.1") {
			t.Errorf("the proxy was captured: %q", got)
		}
	}
}

func TestRedirectMoves(t *testing.T) {
	l := newLab(t)
	ln := listen(t)
	if err := l.c.Redirect(ln.Addr().(*net.TCPAddr).AddrPort(), netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	went := make(chan struct{})
	go func() {
		c, err := ln.Accept()
		if err == nil {
			close(went)
			_, _ = c.Read(make([]byte, 16)) // unread bytes would reset the connection
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
		}
	}()
	if got := l.self("tcp 240.240.1.1:80"); !strings.HasSuffix(got, "ok") {
		t.Error(got)
	}
	<-went
}

// client is what the test binary does as a program in the group.
func client(job string) error {
	verb, arg, _ := strings.Cut(job, " ")
	switch verb {
	case "tcp":
		c, err := net.DialTimeout("tcp", arg, 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		body, err := ask(c)
		fmt.Printf("%s\n%s\n", c.RemoteAddr(), body)
		return err
	case "try": // what is there may be anything, or nothing
		c, err := net.DialTimeout("tcp", arg, 300*time.Millisecond)
		if err != nil {
			fmt.Println(err)
			return nil
		}
		defer c.Close()
		body, err := ask(c)
		fmt.Println(body, err)
		return nil
	case "lookup":
		a, err := net.LookupHost(arg)
		fmt.Println(strings.Join(a, " "))
		return err
	case "many":
		n, _ := strconv.Atoi(arg)
		return many(n)
	}
	return fmt.Errorf("unknown job %q", job)
}

func ask(c net.Conn) (string, error) {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, "x")
	b, err := io.ReadAll(c)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return body, err
}

func many(n int) error {
	errs := make(chan error, n)
	for i := range n {
		go func() {
			want := fmt.Sprintf("240.240.%d.%d:%d", i/200, i%200, 1000+i)
			c, err := net.DialTimeout("tcp", want, 20*time.Second)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			got, err := ask(c)
			if err == nil && (got != want || c.RemoteAddr().String() != want) {
				err = fmt.Errorf("asked for %s, proxy was told %s, program sees %s", want, got, c.RemoteAddr())
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	fmt.Println(n, "right")
	return nil
}
