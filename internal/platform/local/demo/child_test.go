package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestChildren(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	n := newNursery("/bin/sh")
	defer n.close()
	start := func(script string) *child {
		t.Helper()
		c, err := n.start(childOptions{label: "part", log: log, args: []string{"-c", script}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start("echo what went wrong >&2; exit 3")
	<-c.done
	if err := c.exitError(); !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "what went wrong") {
		t.Errorf("got %v, want the status and the log", err)
	}
	c = start("exec sleep 60")
	if pg, err := syscall.Getpgid(c.cmd.Process.Pid); err != nil || pg != c.cmd.Process.Pid {
		t.Errorf("process group %d, %v; want its own, so that Ctrl-C spares it", pg, err)
	}
	c.stop(10 * time.Second)
	if !c.ended() || c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("ended by %v, want SIGTERM", c.cmd.ProcessState)
	}
	c = start("trap '' TERM; echo deaf >&2; while :; do sleep 0.05; done")
	deadline := time.Now().Add(10 * time.Second)
	for b := []byte(nil); !strings.Contains(string(b), "deaf") && time.Now().Before(deadline); b, _ = os.ReadFile(log) {
	}
	c.stop(50 * time.Millisecond)
	if c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v, want SIGKILL after the grace", c.cmd.ProcessState)
	}
	c = start("exec sleep 60")
	if err := c.kill(); err != nil || !c.ended() {
		t.Errorf("kill: %v", err)
	}
}

// runParent is a process that starts a child, says its pid and waits to be killed: see TestMain.
func runParent() {
	c, err := newNursery("/bin/sh").start(childOptions{label: "part", log: os.DevNull, args: []string{"-c", "exec sleep 60"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.cmd.Process.Pid)
	<-c.done
}

func TestChildrenDieWithTheDemo(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"=1")
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if alive := syscall.Kill(pid, 0); alive != nil {
		t.Fatalf("the child has not started: %v", alive)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for !dead(pid) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the child outlives a demo that was killed")
		}
	}
}

// dead reports whether a process is gone, or a zombie that waits for whoever inherited it.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(strings.Repeat("x\n", 20_000)+"a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(file, 2); got != "  a\n  b" {
		t.Errorf("got %q", got)
	}
	if got := tail(file+"x", 2); !strings.Contains(got, "no such file") {
		t.Errorf("got %q", got)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(16)
	seen := map[int]bool{}
	for _, p := range ports {
		seen[p] = true
	}
	if err != nil || len(seen) != 16 {
		t.Errorf("%v, %v: want 16 different ones", ports, err)
	}
}

func TestOptions(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil || o.Name != "bookinfo" || o.Executable == "" || o.BinDir == "" || o.Stdout == nil {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := (Options{LoadRPS: 1e9}).withDefaults(); err == nil {
		t.Error("a load of 1e9 requests/s is taken")
	}
	if err := Run(t.Context(), Options{Name: "nothing"}); err == nil || !strings.Contains(err.Error(), "bookinfo") {
		t.Errorf("unknown demo: %v", err)
	}
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := Run(t.Context(), Options{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "107 bytes") {
		t.Errorf("long directory: %v", err)
	}
}
