package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func withProblems(problems ...*adminv1.Problem) error {
	err := connect.NewError(connect.CodeInvalidArgument, errors.New("invalid documents"))
	d, e := connect.NewErrorDetail(&adminv1.Problems{Problems: problems})
	if e != nil {
		panic(e)
	}
	err.AddDetail(d)
	return err
}

// TestErrors is the table of exit statuses and of what the user reads. SOCKET is the control plane's.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := write("good.yaml", routeYAML)
	binary := write("binary.yaml", "kind: X\nname: \x00")
	latin := write("latin.yaml", "name: caf\xe9")
	big := write("big.yaml", strings.Repeat("# filler\n", maxInput/9+1))
	write("deep/below/a.yaml", routeYAML)
	remote := func(code connect.Code, text string) error { return connect.NewError(code, errors.New(text)) }

	for _, c := range []struct {
		name string
		args []string
		fail error
		code int
		want string
	}{
		{"unknown command", []string{"aply"}, nil, ExitUsage, `weft: unknown command "aply" for "weft"`},
		{"unknown flag", []string{"get", "--wat"}, nil, ExitUsage, "weft: unknown flag: --wat; see `weft help`"},
		{"bad choice", []string{"get", "-o", "xml"}, nil, ExitUsage, "want one of table, wide, json, yaml, name"},
		{"too many arguments", []string{"apply", "x"}, nil, ExitUsage, "weft: unknown command"},
		{"family", []string{"token"}, nil, ExitUsage, "weft: weft token needs one of: create"},
		{"no documents", []string{"apply"}, nil, ExitUsage, "name a file or directory by -f"},
		{"stdin twice", []string{"apply", "-f", "-", "-f", "-"}, nil, ExitUsage, "-f - is given twice"},
		{"missing file", []string{"apply", "-f", filepath.Join(dir, "nosuch")}, nil, ExitIO, "nosuch: no such file or directory"},
		{"binary file", []string{"apply", "-f", binary}, nil, ExitData, "binary.yaml:2:7: byte 14 is a NUL byte: this is a binary file"},
		{"other encoding", []string{"apply", "-f", latin}, nil, ExitData, "latin.yaml:1:10: byte 9 is no valid UTF-8"},
		{"8 MiB", []string{"apply", "-f", big}, nil, ExitData, "big.yaml: documents of one command exceed 8 MiB"},
		{"empty directory", []string{"apply", "-f", filepath.Join(dir, "deep")}, nil, ExitData, "-R descends into the directories below"},
		{"bad timeout", []string{"apply", "-f", good, "--timeout", "-1s"}, nil, ExitUsage, "--timeout -1s: must be more than 0"},
		{"wait and dry run", []string{"apply", "-f", good, "--wait", "--dry-run"}, nil, ExitUsage, "[dry-run wait]"},
		{"invalid documents", []string{"apply", "-f", good}, withProblems(
			&adminv1.Problem{File: "r.yaml", Line: 14, Column: 11, Field: "spec.rules[0].backendRefs[0].wieght", Message: "unknown field", Remedy: `did you mean "weight"?`},
			&adminv1.Problem{File: "r.yaml", Message: "second"},
		), ExitData, "r.yaml:14:11: spec.rules[0].backendRefs[0].wieght: unknown field; did you mean \"weight\"?\nr.yaml: second\nweft: nothing was changed: 2 problems\n"},
		{"delete nothing", []string{"delete"}, nil, ExitUsage, "delete wants either -f or KIND NAME"},
		{"delete both", []string{"delete", "-f", good, "httproute", "x"}, nil, ExitUsage, "delete wants either -f or KIND NAME"},
		{"delete missing", []string{"delete", "httproute", "nosuch"}, nil, ExitNo, `there is no HTTPRoute "nosuch" in namespace default; ` + "`weft get httproutes -A`"},
		{"delete proxy", []string{"delete", "proxy", "x"}, nil, ExitUsage, "not stored"},
		{"stat of a pod", []string{"stat", "deploy/reviews"}, nil, ExitUsage, "traffic is known by service"},
		{"stat of nothing", []string{"stat", "nosuch"}, nil, ExitNo, `there is no service "default/nosuch"`},
		{"stat window", []string{"stat", "-t", "1s"}, nil, ExitUsage, "--time-window 1s: want 10s to 10m0s"},
		{"stat by", []string{"stat", "--by", "moon"}, nil, ExitUsage, `--by "moon": want version`},
		{"tap rate", []string{"tap", "--max-rps", "0"}, nil, ExitUsage, "want 1 to 10000"},
		{"tap path", []string{"tap", "--path", "x"}, nil, ExitUsage, "must begin with /"},
		{"top interval", []string{"top", "--interval", "1ms"}, nil, ExitUsage, "want 100ms or more"},
		{"explain nothing", []string{"explain"}, nil, ExitUsage, "either a SERVICE or --id"},
		{"explain header", []string{"explain", "x", "-H", "novalue"}, nil, ExitUsage, "want NAME=VALUE"},
		{"proxy missing", []string{"proxy-config", "dump", "nosuch"}, nil, ExitNo, `there is no proxy "nosuch"`},
		{"token without account", []string{"token", "create"}, nil, ExitUsage, "--account is missing"},
		{"token for ever", []string{"token", "create", "--account", "a", "--ttl", "9000h"}, nil, ExitUsage, "want 1s to 24h"},
		{"server scheme", []string{"get", "--server", "http://x"}, nil, ExitUsage, "is not https://HOST:PORT"},
		{"ca missing", []string{"get", "--server", "https://x", "--ca", "/nosuch"}, nil, ExitIO, "--ca: open /nosuch"},
		{"ca empty", []string{"get", "--server", "https://x", "--ca", good}, nil, ExitUsage, "has no PEM certificate"},
		{"run without dash", []string{"run", "--service", "x", "true"}, nil, ExitUsage, "write -- before the command"},
		{"run without service", []string{"run", "--", "true"}, nil, ExitUsage, "--service is missing"},
		{"shell", []string{"completion", "csh"}, nil, ExitUsage, "csh"},

		{"invalid argument", []string{"get"}, remote(connect.CodeInvalidArgument, "no such kind"), ExitUsage, "weft: no such kind\n"},
		{"not found", []string{"get"}, remote(connect.CodeNotFound, "no"), ExitNo, "weft: no\n"},
		{"unavailable", []string{"get"}, remote(connect.CodeUnavailable, "store is gone"), ExitUnavailable, "does not answer: store is gone"},
		{"internal", []string{"get"}, remote(connect.CodeInternal, "bug"), ExitInternal, "weft: bug\n"},
		{"conflict", []string{"apply", "-f", good}, remote(connect.CodeAborted, "changed meanwhile"), ExitTemporary, "try again"},
		{"deadline", []string{"get"}, remote(connect.CodeDeadlineExceeded, "slow"), ExitTemporary, "did not answer in time (--request-timeout 10s)"},
		{"permission", []string{"get"}, remote(connect.CodePermissionDenied, "token expired"), ExitUsage, "token expired; name the file of a valid token"},
		{"older server", []string{"get"}, remote(connect.CodeUnimplemented, "no such method"), ExitInternal, "weft version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{fail: c.fail, wait: &adminv1.WaitResponse{}}
			r := world{socket: f.serve(t)}.weft(t, c.args...)
			if r.code != c.code || !strings.Contains(r.err, c.want) {
				t.Errorf("weft %s: exit status %d, want %d; stderr %q, want %q", strings.Join(c.args, " "), r.code, c.code, r.err, c.want)
			}
			if c.fail == nil && (f.applied != nil || f.deleted != nil) {
				t.Error("the control plane was asked although the command line was wrong")
			}
		})
	}
}

func TestNoControlPlane(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "none.sock"), stale, filepath.Join(stale, "below")} {
		r := world{socket: socket}.weft(t, "get")
		want := "weft: no control plane at " + socket + ": start one with `weft serve`, or name it with --socket or WEFT_SOCKET\n"
		if r.code != ExitUnavailable || r.err != want {
			t.Errorf("exit status %d, stderr %q; want %d, %q", r.code, r.err, ExitUnavailable, want)
		}
	}
	if r := (world{socket: filepath.Join(dir, "x")}).weft(t, "version"); r.code != ExitOK || !strings.Contains(r.out, "Server version: unavailable (no control plane") {
		t.Errorf("version: %+v", r)
	}
}

func TestDefaultSocket(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		uid  int
		want string
	}{
		{map[string]string{"WEFT_SOCKET": "/a", "XDG_RUNTIME_DIR": "/x"}, 0, "/a"},
		{map[string]string{"XDG_RUNTIME_DIR": "/x"}, 0, "/x/weft/weft.sock"},
		{nil, 0, "/run/weft/weft.sock"},
		{map[string]string{"HOME": "/home/u"}, 1000, "/home/u/.weft/weft.sock"},
	} {
		if got := DefaultSocket(func(k string) string { return c.env[k] }, c.uid); got != c.want {
			t.Errorf("%v as %d: %s, want %s", c.env, c.uid, got, c.want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/full", Err: errors.New("no space left on device")}
}

func TestLostOutput(t *testing.T) {
	w := world{socket: (&fake{}).serve(t), options: func(o *Options) { o.Stdout = fullDisk{} }}
	for _, args := range [][]string{{"get"}, {"version"}, {"tap"}, {"help"}} {
		if r := w.weft(t, args...); r.code != ExitIO {
			t.Errorf("weft %v to a full disk: exit status %d, want %d; stderr %q", args, r.code, ExitIO, r.err)
		}
	}
}

// TestStatuses checks that commands started for the user decide their own status.
func TestStatuses(t *testing.T) {
	w := world{options: func(o *Options) {
		o.Run = func(_ context.Context, r RunOptions) (int, error) {
			if r.Service != "web" || strings.Join(r.Command, " ") != "sh -c exit --flag" || r.Capture != "explicit" || strings.Join(r.Ports, ",") != "80:8080,81" {
				return 0, errors.New("wrong options")
			}
			return 7, nil
		}
		o.Serve = func(_ context.Context, s ServeOptions) error {
			if s.Socket != "/s" || s.DataDir != "/d" || s.Logger == nil {
				return errors.New("wrong options")
			}
			return fail(ExitData, "damaged")
		}
		o.Demo = func(context.Context, DemoOptions) error { return &Error{Code: ExitNo} }
		o.DemoClient = func(_ context.Context, in io.Reader, out io.Writer) error { _, err := io.Copy(out, in); return err }
	}}
	w.stdin = "job"
	if r := w.weft(t, "run", "--service", "web", "--port", "80:8080", "--port", "81", "--capture", "explicit", "--", "sh", "-c", "exit", "--flag"); r.code != 7 || r.err != "" {
		t.Errorf("run: %+v", r)
	}
	if r := w.weft(t, "serve", "--socket", "/s", "--data-dir", "/d"); r.code != ExitData || r.err != "weft: damaged\n" {
		t.Errorf("serve: %+v", r)
	}
	if r := w.weft(t, "serve", "--api-cert", "x"); r.code != ExitUsage {
		t.Errorf("serve with a certificate and no key: %+v", r)
	}
	if r := w.weft(t, "demo", "--check"); r.code != ExitNo || r.err != "" {
		t.Errorf("demo: %+v", r)
	}
	if r := w.weft(t, "demo", "nosuch"); r.code != ExitUsage {
		t.Errorf("demo nosuch: %+v", r)
	}
	if r := w.weft(t, "demo-client"); r.code != ExitOK || r.out != "job" {
		t.Errorf("demo-client: %+v", r)
	}
}
