//go:build linux

package loop

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// start runs a loop until the test ends.
func start(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

// manual makes a loop that the test turns itself.
func manual(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop()
		if err := l.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// spawn runs f as a task; the channel closes when it has ended.
func spawn(l *Loop, f func()) chan struct{} {
	done := make(chan struct{})
	l.Post(func() { l.Go(func() { defer close(done); f() }) })
	return done
}

func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// task runs f as a task and waits for its end.
func task(t testing.TB, l *Loop, f func()) {
	t.Helper()
	wait(t, "the task", spawn(l, f))
}

// serve accepts on a free port and runs f as a task for each connection.
func serve(t testing.TB, l *Loop, f func(*Conn)) netip.AddrPort {
	t.Helper()
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	l.Call(func() {
		if _, err := l.Accept(ln, func(c *Conn) { l.Go(func() { f(c) }) }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr()
}

func dial(t testing.TB, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// pair returns a connection of the loop and the plain descriptor at its other end. It must run on the loop.
func pair(t testing.TB, l *Loop) (*Conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.add(fds[0], streamEvents)
	if err != nil {
		t.Fatal(err)
	}
	return c, fds[1]
}

func TestPostAndCallFromManyGoroutines(t *testing.T) {
	l := start(t)
	var wg sync.WaitGroup
	sum := 0 // the loop's own
	for range 16 {
		wg.Go(func() {
			for i := range 500 {
				if i%2 == 0 {
					l.Post(func() { sum++ })
				} else {
					l.Call(func() { sum++ })
				}
			}
		})
	}
	wg.Wait()
	got := 0
	if !l.Call(func() { got = sum }) || got != 16*500 {
		t.Fatalf("%d calls ran", got)
	}
}

func TestPostsKeepTheirOrder(t *testing.T) {
	l := start(t)
	var got []int
	for i := range 1000 {
		l.Post(func() { got = append(got, i) })
	}
	l.Call(func() {})
	for i, v := range got {
		if i != v {
			t.Fatalf("%d ran at %d", v, i)
		}
	}
}

func TestStopFromManyGoroutines(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(context.Background()) }()
	var wg sync.WaitGroup
	var accepted, ran atomic.Int64
	for range 8 {
		wg.Go(func() {
			for l.Post(func() { ran.Add(1) }) {
				accepted.Add(1)
			}
		})
		wg.Go(l.Stop)
	}
	wg.Wait()
	wait(t, "the loop's end", ended)
	if accepted.Load() != ran.Load() {
		t.Fatalf("%d posts taken, %d ran", accepted.Load(), ran.Load())
	}
	if l.Post(func() {}) || l.Call(func() {}) {
		t.Fatal("a loop that has ended took work")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	cancel()
	wait(t, "the loop's end", ended)
}

// A task that tries again when its connection closes must not wait on a loop that is over.
func TestNothingNewAfterTheEnd(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(context.Background()) }()
	var again error
	standing := make(chan struct{})
	retried := spawn(l, func() {
		c, err := l.Dial(ln.Addr(), patience)
		if err != nil {
			t.Error(err)
			return
		}
		close(standing)
		_, _ = c.Read(make([]byte, 1))
		_, again = l.Dial(ln.Addr(), patience)
	})
	wait(t, "the connection", standing)
	l.Stop()
	wait(t, "the loop's end", ended)
	wait(t, "the task's end", retried)
	if again == nil {
		t.Fatal("a loop that has ended made a connection")
	}
}

func TestTasksAreReused(t *testing.T) {
	l := start(t)
	seen := map[*Task]bool{}
	for range 100 {
		task(t, l, func() { seen[l.Current()] = true })
	}
	if len(seen) > 2 {
		t.Fatalf("%d coroutines for one task at a time", len(seen))
	}
	// More at once than are kept: the rest end.
	const many = maxFree + 200
	var parked []*Task
	l.Call(func() {
		for range many {
			l.Go(func() { parked = append(parked, l.Current()); l.Park() })
		}
	})
	l.Call(func() {
		for _, p := range parked {
			l.Wake(p)
			l.Wake(p) // twice is once
		}
	})
	l.Call(func() {
		if len(parked) != many || len(l.free) != maxFree {
			t.Errorf("%d tasks ran, %d kept", len(parked), len(l.free))
		}
	})
}

func TestWakeLeavesOthersAlone(t *testing.T) {
	l := start(t)
	l.Call(func() { l.Wake(nil) })
	task(t, l, func() { l.Wake(l.Current()) })
	order := ""
	task(t, l, func() {
		me := l.Current()
		l.Go(func() { order += "b"; l.Wake(me) })
		order += "a"
		l.Park()
		order += "c"
	})
	if order != "abc" {
		t.Fatalf("order %q", order)
	}
}

// flusher counts and runs what it is given.
type flusher struct {
	n int
	f func()
}

func (f *flusher) Flush() {
	f.n++
	if f.f != nil {
		f.f()
	}
}

func TestFlushComesAfterTheTasksOfATurn(t *testing.T) {
	l := start(t)
	order := ""
	f := &flusher{}
	f.f = func() {
		order += "f"
		if f.n == 1 {
			l.Go(func() { order += "t"; l.OnFlush(f) }) // a flush may wake tasks, which may flush
		}
	}
	l.Call(func() {
		l.OnFlush(f)
		l.Go(func() { order += "1" })
		l.Go(func() { order += "2" })
	})
	l.Call(func() {})
	if order != "12ftf" {
		t.Fatalf("order %q", order)
	}
}

func TestBuffers(t *testing.T) {
	l := manual(t)
	for class, size := range bufferSizes {
		buf := l.Get(size)
		if len(buf) != size {
			t.Fatalf("%d bytes, want %d", len(buf), size)
		}
		l.Put(buf[:10])
		l.Put(make([]byte, size+1)) // not ours: left alone
		if again := l.Get(size - 1); &again[0] != &buf[0] || len(again) != size {
			t.Fatal("the buffer was not reused whole")
		}
		for range 2 * maxKept[class] {
			l.Put(make([]byte, size))
		}
		if n := len(l.buffers[class]); n != maxKept[class] {
			t.Fatalf("%d buffers of %d bytes are kept", n, size)
		}
	}
}

// An event that was fetched for a descriptor must not reach the connection that has the number next.
func TestStaleEvents(t *testing.T) {
	l := manual(t)
	c, far := pair(t, l)
	unix.Close(far)
	if n, _ := l.waitInHand(0); n != 1 {
		t.Fatalf("%d events", n)
	}
	stale := l.events[0]
	_ = c.Close()
	c2, far2 := pair(t, l)
	defer unix.Close(far2)
	if c2.fd != c.fd {
		t.Skip("the descriptor was not reused")
	}
	l.dispatch(&stale)
	if c2.Broken() || c2.Readable() {
		t.Fatal("the new connection got the old one's event")
	}
}
