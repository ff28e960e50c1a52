package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weft": func() { os.Exit(run()) }})
}

// TestScripts runs the real program as a user would, without a control plane.
func TestScripts(t *testing.T) { scripts(t, "testdata/script") }

// TestServe runs it with a control plane, a real one, that each script starts in its own directory.
func TestServe(t *testing.T) {
	if options().Serve == nil {
		t.Skip("this build has no control plane")
	}
	scripts(t, "testdata/serve")
}

// scripts runs those of a directory. They find their control plane by WEFT_SOCKET.
func scripts(t *testing.T, dir string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			e.Setenv("WEFT_SOCKET", filepath.Join(e.WorkDir, "weft.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":  ready,
			"status": status,
		},
	})
}

// ready waits until the control plane answers: ready [SOCKET].
func ready(ts *testscript.TestScript, _ bool, args []string) {
	socket := ts.Getenv("WEFT_SOCKET")
	if len(args) > 0 {
		socket = args[0]
	}
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		err := ts.Exec("weft", "get", "--socket", socket, "--request-timeout", "1s")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no control plane at %s after 30 s: %v: %s", socket, err, ts.ReadFile("stderr"))
		}
	}
}

// status runs a command and wants an exit status: status CODE COMMAND ARG... Outputs can be looked at by
// stdout and stderr as after exec.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		got = fmt.Sprint(exit.ExitCode())
	default:
		ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
	}
	if got != args[0] {
		ts.Fatalf("%s: exit status %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}
