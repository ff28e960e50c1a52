package main

import (
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// burnCPU uses d of processor time on each of n threads, however long that takes.
func burnCPU(n int, d time.Duration) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for start := threadTime(); threadTime()-start < d; {
			}
		})
	}
	wg.Wait()
}

// threadTime is the processor time of the calling thread (clock_gettime(2), CLOCK_THREAD_CPUTIME_ID).
func threadTime() time.Duration {
	const clock = 3
	var ts syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
