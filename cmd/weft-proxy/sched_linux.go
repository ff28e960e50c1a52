package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	schedNormal = 0 // SCHED_OTHER of sched(7)
	schedBatch  = 3 // SCHED_BATCH
)

// waitItsTurn has the kernel schedule all threads of this process, those of later too, as SCHED_BATCH: a thread that
// wakes does not interrupt the one that woke it, which for a proxy is nearly always another one that is about to wait
// (docs/adr/0011). A policy that somebody has chosen for the process stays; so does its nice value.
func waitItsTurn() error {
	const tasks = "/proc/self/task"
	all, err := os.ReadDir(tasks)
	if err != nil {
		return fmt.Errorf("scheduling policy: %w", err)
	}
	for _, t := range all {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("scheduling policy: %s: %w", tasks, err)
		}
		attr, err := unix.SchedGetAttr(tid, 0)
		if err == nil && attr.Policy == schedNormal {
			attr.Policy = schedBatch
			err = unix.SchedSetAttr(tid, attr, 0)
		}
		if err != nil && err != unix.ESRCH { // it has ended meanwhile
			return fmt.Errorf("scheduling policy of thread %d: %w", tid, err)
		}
	}
	return nil
}
