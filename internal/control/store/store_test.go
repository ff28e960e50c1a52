package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Started by init functions of libraries: the process has one of each.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
	)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestReopenKeepsDataAndLeases(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ctx := testContext(t)
	s := mustOpen(t, Options{DataDir: dir})
	if s.Prefix() != "/weft/" {
		t.Errorf("Prefix() = %q", s.Prefix())
	}
	lease, err := s.Client().Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Put(ctx, s.Prefix()+"a", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Put(ctx, s.Prefix()+"b", "2", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx); err != nil {
		t.Errorf("Healthy: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx); err == nil {
		t.Error("a closed store says it is healthy")
	}

	began := time.Now()
	s = mustOpen(t, Options{DataDir: dir})
	t.Logf("reopened in %s", time.Since(began))
	resp, err := s.Client().Get(ctx, s.Prefix(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 2 || string(resp.Kvs[0].Value) != "1" || string(resp.Kvs[1].Value) != "2" {
		t.Fatalf("after reopening: %v", resp.Kvs)
	}
	ttl, err := s.Client().TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		t.Fatal(err)
	}
	if ttl.TTL <= 0 || ttl.TTL > 60 || len(ttl.Keys) != 1 {
		t.Errorf("lease after reopening: TTL %d, keys %q", ttl.TTL, ttl.Keys)
	}
}

func TestEmbeddedListensOnNoNetwork(t *testing.T) {
	s := mustOpen(t, Options{DataDir: t.TempDir()})
	if n := len(s.etcd.Peers); n != 0 {
		t.Errorf("%d peer listeners", n)
	}
	for _, l := range s.etcd.Clients {
		if l.Addr().Network() != "unix" {
			t.Errorf("listens on %s %s", l.Addr().Network(), l.Addr())
		}
		st, err := os.Stat(filepath.Dir(l.Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("the socket's directory has mode %#o", st.Mode().Perm())
		}
	}
}

func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	s := mustOpen(t, Options{DataDir: dir})
	if _, err := s.Client().Put(testContext(t), "/weft/x", "y"); err != nil {
		t.Fatal(err)
	}
	sock := s.sock
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(sock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket directory %s left behind: %v", sock, err)
	}
}

func wantError(t *testing.T, err, kind error, code int, texts ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is %v (%T), want *Error", err, err)
	}
	if !errors.Is(err, kind) || e.ExitCode() != code {
		t.Errorf("error %q: kind %v code %d, want %v %d", err, e.Kind, e.Code, kind, code)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q lacks %q", err, s)
		}
	}
}

func TestLockedDir(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{DataDir: dir})
	_, err := Open(testContext(t), Options{DataDir: dir})
	wantError(t, err, ErrLocked, exitUnavailable, dir, "pid "+strconv.Itoa(os.Getpid()), "--data-dir")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, Options{DataDir: dir})
}

func TestUnusableDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(testContext(t), Options{DataDir: dir})
		wantError(t, err, ErrAccess, exitIO, dir, "mode 0640", fmt.Sprintf("owned by uid %d", os.Getuid()))
	}
	_, err := Open(testContext(t), Options{})
	wantError(t, err, ErrUsage, exitUsage, "--data-dir")
}

// filled returns a closed data directory with some content.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := mustOpen(t, Options{DataDir: dir})
	for i := range 200 {
		if _, err := s.Client().Put(testContext(t), fmt.Sprintf("/weft/%d", i), strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDamagedFiles(t *testing.T) {
	orig := filled(t)
	const db = "etcd/member/snap/db"
	wal := func(dir string) string {
		names, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no log: %v", err)
		}
		return names[0]
	}
	scribble := func(t *testing.T, file string, from, n int64) {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", int(n))), from); err != nil {
			t.Fatal(err)
		}
	}
	page := int64(os.Getpagesize())
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		file   string
	}{
		"both meta pages": {func(t *testing.T, dir string) { scribble(t, filepath.Join(dir, db), 0, 2*page) }, db},
		"all pages":       {func(t *testing.T, dir string) { scribble(t, filepath.Join(dir, db), 2*page, 40*page) }, db},
		"cut short": {func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, db), 3*page); err != nil {
				t.Fatal(err)
			}
		}, db},
		"empty": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, db), []byte("not a database"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, db},
		"gone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, db)); err != nil {
				t.Fatal(err)
			}
		}, db},
		"log": {func(t *testing.T, dir string) { scribble(t, wal(dir), 600, 5000) }, "etcd/member/wal"},
		"log gone": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "etcd/member/wal")); err != nil {
				t.Fatal(err)
			}
		}, "etcd/member/wal"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(orig)); err != nil {
				t.Fatal(err)
			}
			tc.damage(t, dir)
			_, err := Open(testContext(t), Options{DataDir: dir})
			wantError(t, err, ErrCorrupt, exitData, filepath.Join(dir, tc.file), "restore", "remove")
			t.Log(err)
			// Nothing is deleted, and the lock is free again.
			l, err := lockDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.release(); err != nil {
				t.Fatal(err)
			}
		})
	}
	mustOpen(t, Options{DataDir: orig})
}

func TestOpenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, Options{DataDir: t.TempDir()})
	wantError(t, err, ErrUnreachable, exitUnavailable, "interrupted")
}

func TestUnreachableCluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = Open(ctx, Options{URL: "etcd://" + addr})
	wantError(t, err, ErrUnreachable, exitUnavailable, addr, "connection refused", "within")
}

func TestParseURL(t *testing.T) {
	for in, want := range map[string]cluster{
		"etcd://a:1":            {endpoints: []string{"a:1"}, prefix: "/weft/"},
		"etcd://a:1,b:2/":       {endpoints: []string{"a:1", "b:2"}, prefix: "/weft/"},
		"etcds://[::1]:2379/x/": {endpoints: []string{"[::1]:2379"}, prefix: "/x/", tls: true},
		"etcd://a:1/x/y":        {endpoints: []string{"a:1"}, prefix: "/x/y/"},
	} {
		got, err := parseURL(in)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("parseURL(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "http://a:1", "etcd://", "etcd://a", "etcd://a:1,,b:2", "etcd://root:geheim@a:1", "etcd://a:1/x?password=geheim"} {
		_, err := parseURL(in)
		wantError(t, err, ErrUsage, exitUsage)
		if strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error for %q quotes the password", in)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"etcd://a:1,b:2/x", "etcds://[::1]:1", "://", "etcd://,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseURL(s)
		if err != nil {
			return
		}
		if len(c.endpoints) == 0 || !strings.HasPrefix(c.prefix, "/") || !strings.HasSuffix(c.prefix, "/") {
			t.Errorf("parseURL(%q) = %+v", s, c)
		}
	})
}
