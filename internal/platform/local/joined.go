package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/platform/acme"
)

// JoinedOptions say how a gateway joins a mesh, whose control plane has its documents.
type JoinedOptions struct {
	As      string            // NAMESPACE/NAME of its identity and service; where Gateway is given, the same
	Gateway string            // NAMESPACE/NAME of the Gateway it serves; "": Istio's Gateways that select Labels
	Labels  map[string]string // of its proxy

	// Inbound makes it a way out of the mesh, for the programs of the mesh, which reach it there; zero: it is none.
	Inbound   netip.AddrPort
	Advertise netip.Addr // at which others reach Inbound; zero: its own

	// Control is where proxies reach the control plane, unix:///PATH or HOST:PORT, and TokenFile a join token.
	// Without them Admin is asked for both, at each start of the proxy.
	Control   string
	TokenFile string
	Admin     adminv1connect.AdminServiceClient

	Bind         []netip.Addr // where the Gateway names no addresses; default: the loopback
	Certificates string       // directory of the files that listeners name; "" is none
	Loops        int
	ProxyAdmin   string // the proxy's own endpoint: unix:///PATH or IP:PORT; "" is none
	AccessLog    string
	LogLevel     string
	Proxy        string // path of weft-proxy; "" is beside this program, else in PATH

	ACME *acme.Options // how listeners that ask for it get certificates; nil: they get none

	// Serving is told of the addresses listened on when that begins; none when nobody has written the Gateway yet.
	Serving func(addresses []string)

	Env            []string // for the runtime directory; nil is ours
	Logger         *slog.Logger
	Stdout, Stderr io.Writer     // of the proxy
	Grace          time.Duration // for the proxy to drain in; default 15 s
}

func (o *JoinedOptions) setDefaults() error {
	namespace, name, ok := strings.Cut(o.As, "/")
	switch {
	case !ok || !validLabel.MatchString(namespace) || !validLabel.MatchString(name):
		return usage(fmt.Errorf("%q is not NAMESPACE/NAME: --gateway, or --as, says which identity the gateway has", o.As))
	case (o.Control == "") != (o.TokenFile == ""):
		return usage(errors.New("--control and --token belong together: make a token with `weft token create -n " + namespace + " --account " + name + "`"))
	}
	if o.Grace <= 0 {
		o.Grace = 15 * time.Second
	}
	if o.LogLevel == "" {
		o.LogLevel = "warn"
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	o.Loops = max(o.Loops, 1)
	return nil
}

// joined is a running gateway of a mesh.
type joined struct {
	o     JoinedOptions
	id    string
	path  string // of weft-proxy
	dir   *runtimeDir
	spawn *spawner
	proc  *process
	acme  *acme.Manager // nil: there is none
	links sync.WaitGroup
}

// JoinedGateway runs a gateway of a mesh until ctx ends. It starts weft-proxy, which gets everything else from the
// control plane, and starts it again when it dies.
func JoinedGateway(ctx context.Context, o JoinedOptions) error {
	if err := o.setDefaults(); err != nil {
		return err
	}
	namespace, name, _ := strings.Cut(o.As, "/")
	j := &joined{o: o, id: "gateway-" + namespace + "-" + name + "-" + randomSuffix()}
	var err error
	if j.path, err = findProxy(o.Proxy); err != nil {
		return err
	}
	if j.dir, err = makeRuntimeDir(o.Env, j.id); err != nil {
		return err
	}
	defer func() {
		if err := j.dir.remove(); err != nil {
			o.Logger.Warn("the runtime directory stays", "error", err)
		}
	}()
	if o.ACME != nil {
		if j.acme, err = acme.New(ctx, *o.ACME); err != nil {
			return usage(err)
		}
		defer j.acme.Close()
		defer j.links.Wait()
	}
	j.spawn = newSpawner()
	defer j.spawn.close()
	ready, err := j.start(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer func() {
		if j.proc.terminate(os.Interrupt, o.Grace) {
			o.Logger.Warn("the proxy did not drain in time and was killed", "grace", o.Grace)
		}
	}()
	at := slices.Sorted(maps.Values(ready.Sockets))
	if ready.Inbound != "" {
		at = append(at, ready.Inbound)
	}
	o.Serving(at)
	j.supervise(ctx)
	return nil
}

// start starts the proxy and waits until it has an identity and a configuration.
func (j *joined) start(ctx context.Context) (Ready, error) {
	control, token, err := j.join(ctx)
	if err != nil {
		return Ready{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return Ready{}, unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	defer r.Close()
	cmd := exec.Command(j.path, j.args(control, token)...)
	cmd.Stdout, cmd.Stderr = j.o.Stdout, j.o.Stderr
	cmd.ExtraFiles = []*os.File{w} // descriptor 3
	if err := j.link(ctx, cmd); err != nil {
		_ = w.Close()
		return Ready{}, err
	}
	cmd.WaitDelay = time.Second
	// Its own process group: Ctrl-C in a terminal is for us, who let it drain.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	proc, err := j.spawn.start(cmd)
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	if err != nil {
		return Ready{}, unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	ready, err := awaitReady(ctx, r, proc)
	if err != nil {
		proc.terminate(syscall.SIGTERM, j.o.Grace)
		return ready, err
	}
	j.proc = proc
	return ready, nil
}

// link has the proxy of a command get certificates by ACME, if there are any to be had.
func (j *joined) link(ctx context.Context, cmd *exec.Cmd) error {
	if j.acme == nil {
		return nil
	}
	link, theirs, err := newManagedLink(j.acme, j.o.Logger)
	if err != nil {
		return unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Args = append(cmd.Args, "--managed-fd", "4")
	j.links.Go(func() { link.run(context.WithoutCancel(ctx)) }) // it ends with the proxy, which drains when ctx ends
	return nil
}

// join returns where the control plane is and the file of a join token.
func (j *joined) join(ctx context.Context) (control, token string, err error) {
	if j.o.Control != "" {
		return j.o.Control, j.o.TokenFile, nil
	}
	v, err := j.o.Admin.Version(ctx, connect.NewRequest(&adminv1.VersionRequest{}))
	if err != nil {
		return "", "", fmt.Errorf("ask the control plane: %w", err)
	}
	if control = v.Msg.GetProxyAddress(); control == "" {
		return "", "", unavailable(errors.New("the control plane tells no address for proxies: restart it with a proxy listener"))
	}
	namespace, name, _ := strings.Cut(j.o.As, "/")
	t, err := j.o.Admin.CreateJoinToken(ctx, connect.NewRequest(&adminv1.CreateJoinTokenRequest{Namespace: namespace, Account: name}))
	if err != nil {
		return "", "", fmt.Errorf("get a join token for %s: %w", j.o.As, err)
	}
	return control, j.dir.tokenFile(), j.dir.writeToken(t.Msg.GetToken())
}

// args is the proxy's command line.
func (j *joined) args(control, token string) []string {
	_, name, _ := strings.Cut(j.o.As, "/")
	args := []string{
		"--control", control, "--token", token, "--id", j.id, "--service", name,
		"--loops", strconv.Itoa(j.o.Loops), "--log-level", j.o.LogLevel, "--ready-fd", "3",
	}
	if j.o.Gateway != "" {
		args = append(args, "--gateway", j.o.Gateway)
	} else {
		args = append(args, "--selected")
	}
	for _, k := range slices.Sorted(maps.Keys(j.o.Labels)) {
		args = append(args, "--label", k+"="+j.o.Labels[k])
	}
	if j.o.Inbound.IsValid() {
		args = append(args, "--egress", "--inbound", j.o.Inbound.String())
		if j.o.Advertise.IsValid() {
			args = append(args, "--advertise", j.o.Advertise.String())
		}
	}
	for _, ip := range j.o.Bind {
		args = append(args, "--bind", ip.String())
	}
	for flag, value := range map[string]string{"--certificates": j.o.Certificates, "--admin": j.o.ProxyAdmin, "--access-log": j.o.AccessLog} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	return args
}

// supervise starts a proxy that died again, until ctx ends.
func (j *joined) supervise(ctx context.Context) {
	backoff := firstBackoff
	for {
		up := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-j.proc.done:
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(up) >= stableAfter {
			backoff = firstBackoff
		}
		j.o.Logger.Error("the proxy died and is started again", "status", j.proc.state.String(), "pid", j.proc.pid())
		if pause(ctx, backoff) != nil {
			return
		}
		backoff = min(2*backoff, maxBackoff)
		if _, err := j.start(ctx); err != nil && ctx.Err() == nil {
			j.o.Logger.Error("the proxy did not start", "error", err)
		}
	}
}
