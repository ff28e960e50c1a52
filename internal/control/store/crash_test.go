package store

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const crashEnv = "WEFT_TEST_STORE_DIR"

// TestCrashHelper is the process that TestKilled kills.
func TestCrashHelper(t *testing.T) {
	dir := os.Getenv(crashEnv)
	if dir == "" {
		t.Skip("runs as a child of TestKilled only")
	}
	s, err := Open(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, err := s.Client().Put(t.Context(), fmt.Sprintf("/weft/%06d", i), "x"); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acknowledged %d\n", i)
	}
}

// TestKilled: what was acknowledged before a SIGKILL is there after it, and the lock is free.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(testContext(t), os.Args[0], "-test.run=^TestCrashHelper$")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, killed := -1, false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &last); err == nil && last >= 100 && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || last < 100 {
		t.Fatalf("the child ended by itself after %d: %v", last, err)
	}
	s := mustOpen(t, Options{DataDir: dir})
	resp, err := s.Client().Get(testContext(t), "/weft/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if resp.Count < int64(last)+1 {
		t.Errorf("%d keys after the kill, %d were acknowledged", resp.Count, last+1)
	}
}

// TestFatal: what etcd would end the process for ends the goroutine, and says why.
func TestFatal(t *testing.T) {
	s := &Store{failed: make(chan struct{})}
	var log strings.Builder
	lg := newZap(slog.New(slog.NewTextHandler(&log, nil)), s.onFatal("/data"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		lg.Fatal("failed to save", zap.Error(io.ErrShortWrite))
		t.Error("Fatal returned")
	}()
	<-done
	<-s.Failed()
	wantError(t, s.Err(), ErrFailed, exitIO, "/data", "failed to save", "short write")
	if err := s.Healthy(t.Context()); err == nil {
		t.Error("a failed store is healthy")
	}
	if !strings.Contains(log.String(), "failed to save") {
		t.Errorf("log: %s", log.String())
	}
}
