//go:build linux && !weft_goroutines

package loop

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStoppedAcceptIsQuiet(t *testing.T) {
	l := manual(t)
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	stop, err := l.Accept(ln, func(*Conn) {})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	dial(t, ln.Addr()) // waits in the listener's queue, which another process may serve
	if n, err := l.waitInHand(0); n != 0 || err != nil {
		t.Fatal("the loop still gets the listener's events: it would spin")
	}
}

func TestSeveralLoopsAccept(t *testing.T) {
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 3 {
		l := start(t)
		l.Call(func() {
			if _, err := l.Accept(ln, func(c *Conn) { l.Go(func() { echo(c) }) }); err != nil {
				t.Error(err)
			}
		})
	}
	for range 100 {
		c := dial(t, ln.Addr())
		var b [1]byte
		if _, err := c.Write(b[:]); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b[:]); err != nil {
			t.Fatal(err)
		}
	}
}

const childEnv = "WEFT_LOOP_TEST_CHILD"

// TestAcceptWithoutDescriptors runs in a process of its own, whose descriptors it uses up.
func TestAcceptWithoutDescriptors(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		withoutDescriptors(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAcceptWithoutDescriptors$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func withoutDescriptors(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 1)
	if _, err := l.Accept(ln, func(c *Conn) { accepted <- struct{}{}; _ = c.Close() }); err != nil {
		t.Fatal(err)
	}
	dial(t, ln.Addr())
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 100
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var used []int
	for {
		fd, err := unix.Dup(ln.fd)
		if err != nil {
			break
		}
		used = append(used, fd)
	}
	before := cpu(t)
	var calm Timer
	waited := make(chan struct{})
	l.AfterFunc(&calm, 350*time.Millisecond, func() { close(waited) })
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	wait(t, "the pause", waited)
	if spent := cpu(t) - before; spent > 150*time.Millisecond {
		t.Errorf("%v of processor time spent while nothing could be accepted", spent)
	}
	select {
	case <-accepted:
		t.Error("accepted without a descriptor")
	default:
	}
	for _, fd := range used {
		unix.Close(fd)
	}
	wait(t, "the connection that had to wait", accepted)
	l.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = ln.Close()
}

// cpu is the processor time this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
