package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestParseSchedstat(t *testing.T) {
	got, err := parseSchedstat([]byte("1234567890123 42 7\n"))
	if err != nil || got != 1234567890123 {
		t.Fatalf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "\n", "-1 2 3", "x 2 3"} {
		if n, err := parseSchedstat([]byte(bad)); err == nil {
			t.Errorf("%q read as %d", bad, n)
		}
	}
}

func TestParseResident(t *testing.T) {
	got, err := parseResident([]byte("Name:\tx\nVmHWM:\t   99999 kB\nVmRSS:\t   12345 kB\nRssAnon:\t 1 kB\n"))
	if err != nil || got != 12345 {
		t.Fatalf("got %d, %v; want VmRSS and not another line", got, err)
	}
	for _, bad := range []string{"", "Name:\tkthread\n", "VmRSS:\t many kB\n"} {
		if n, err := parseResident([]byte(bad)); err == nil {
			t.Errorf("%q read as %d", bad, n)
		}
	}
}

// TestCPUTimeCountsAllThreads burns time on two goroutines pinned to threads of their own: a count of the
// main thread alone would miss it.
func TestCPUTimeCountsAllThreads(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("this kernel has no /proc/PID/schedstat")
	}
	pids := []int{os.Getpid()}
	before, err := cpuTime(pids)
	if err != nil {
		t.Fatal(err)
	}
	const burn = 100 * time.Millisecond
	burnCPU(2, burn)
	after, err := cpuTime(pids)
	if err != nil {
		t.Fatal(err)
	}
	// The two share the processors with whatever else runs: each is sure of its own time only, and of that
	// the counter must show all.
	if got := after - before; got < 2*burn-20*time.Millisecond {
		t.Errorf("counted %v of %v burnt", got, 2*burn)
	}
}

func TestCPUTimeOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if d, err := cpuTime([]int{cmd.Process.Pid}); err == nil {
		t.Errorf("a process that has ended used %v and no error", d)
	}
}

func TestResident(t *testing.T) {
	got, err := residentMiB([]int{os.Getpid()})
	if err != nil || got < 1 || got > 4096 {
		t.Errorf("this test holds %v MiB, %v", got, err)
	}
}

func TestChildRunning(t *testing.T) {
	path, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(path, "30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	exe, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, ok := childRunning(os.Getpid(), filepath.Base(exe))
	if !ok || pid != cmd.Process.Pid {
		t.Errorf("found %d, %v; want %d", pid, ok, cmd.Process.Pid)
	}
	if pid, ok := childRunning(os.Getpid(), "no-such-program"); ok {
		t.Errorf("found %d for a program nobody runs", pid)
	}
}
