package main

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWaitItsTurn runs in a process of its own, which it may change: all threads have the policy then, and the first one
// the nice value that it had.
func TestWaitItsTurn(t *testing.T) {
	if os.Getenv("WEFT_TEST_SCHED") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestWaitItsTurn$", "-test.count=1")
		cmd.Env = append(os.Environ(), "WEFT_TEST_SCHED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, os.Getpid(), 3); err != nil {
		t.Fatal(err)
	}
	if err := waitItsTurn(); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir("/proc/self/task")
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	for _, d := range all {
		tid, _ := strconv.Atoi(d.Name())
		attr, err := unix.SchedGetAttr(tid, 0)
		if err != nil || attr.Policy != schedBatch {
			t.Errorf("thread %d: %+v, %v", tid, attr, err)
		}
		if tid == os.Getpid() && attr.Nice != 3 {
			t.Errorf("nice %d, not 3", attr.Nice)
		}
	}
}
