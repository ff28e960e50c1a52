package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime returns the processor time of processes since their start, all their threads together, as the
// scheduler counts it: in nanoseconds (Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat).
func cpuTime(pids []int) (time.Duration, error) {
	var sum uint64
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			if err != nil {
				continue // a thread that ended meanwhile
			}
			ns, err := parseSchedstat(b)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", t, err)
			}
			sum += ns
		}
	}
	return time.Duration(sum), nil
}

// parseSchedstat returns the first of a schedstat's numbers: nanoseconds on a processor.
func parseSchedstat(b []byte) (uint64, error) {
	first, _, _ := bytes.Cut(b, []byte(" "))
	return strconv.ParseUint(string(first), 10, 64)
}

// residentMiB returns the memory that processes hold, in MiB (proc(5), VmRSS).
func residentMiB(pids []int) (float64, error) {
	var sum float64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		kib, err := parseResident(b)
		if err != nil {
			return 0, err
		}
		sum += float64(kib) / 1024
	}
	return sum, nil
}

func parseResident(status []byte) (kib int, err error) {
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		}
	}
	return 0, fmt.Errorf("no VmRSS in the status")
}

// children returns the processes that pid has started.
func children(pid int) []int {
	var out []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

// childRunning returns the child of pid that runs the program, by its file's name.
func childRunning(pid int, program string) (int, bool) {
	for _, c := range children(pid) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c)); err == nil && filepath.Base(exe) == program {
			return c, true
		}
	}
	return 0, false
}
