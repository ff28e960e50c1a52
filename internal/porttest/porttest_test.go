package porttest

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
)

// TestFree: a port is given once, can be listened on, and is none the kernel would choose.
func TestFree(t *testing.T) {
	const callers, each = 8, 40
	var mu sync.Mutex
	var wg sync.WaitGroup
	given := map[int]bool{}
	for range callers {
		wg.Go(func() {
			for range each {
				port, err := Free()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if given[port] && runtime.GOOS == "linux" {
					t.Errorf("%d is given twice", port)
				}
				given[port] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for port := range given {
		if port < lowest || port >= kernelsFirst() {
			t.Errorf("%d is not between %d and %d", port, lowest, kernelsFirst())
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("a given port: %v", err)
			continue
		}
		ln.Close()
	}
}

// TestFreePassesOver: what somebody listens on, or has claimed, is not given.
func TestFreePassesOver(t *testing.T) {
	port, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	if mine, err := claim(port); err != nil || mine && runtime.GOOS == "linux" {
		t.Errorf("a given port is claimed again: %v, %v", mine, err)
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if unused(port) {
		t.Errorf("%d is unused though somebody listens", port)
	}
}
