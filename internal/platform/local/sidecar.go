package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

// Ready is the line of JSON a proxy writes to descriptor 3 once it has an identity and a configuration:
// where it listens.
type Ready struct {
	Inbound   string            `json:"inbound"`
	Outbound  string            `json:"outbound"`
	HTTPProxy string            `json:"httpProxy"`
	DNS       string            `json:"dns"`
	Admin     string            `json:"admin"`
	Upstreams map[string]string `json:"upstreams"` // by Upstream.Key
	Sockets   map[string]string `json:"sockets"`   // of a gateway: as configured -> as bound
}

// sidecar runs weft-proxy, and runs it again on the same ports when it dies.
type sidecar struct {
	p     *plan
	path  string
	dir   *runtimeDir
	spawn *spawner
	// cgroup is where the proxy starts; nil without capture by eBPF.
	cgroup *os.File
	// restored is called after a restart, to point the capture at the new ports.
	restored func(Ready) error
	// everything says whether connections to every address are captured; nil where the program is not captured.
	everything func(bool) error

	heeding sync.WaitGroup // what takes the proxy's words; each ends with its proxy

	mu    sync.Mutex
	proc  *process
	ready Ready
}

// findProxy returns the path of weft-proxy.
func findProxy(path string) (string, error) {
	if path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", unavailable(fmt.Errorf("--proxy: %w", err))
		}
		return found, nil
	}
	beside := "this program"
	if self, err := os.Executable(); err == nil {
		beside = filepath.Dir(self)
		candidate := filepath.Join(beside, "weft-proxy")
		if st, err := os.Stat(candidate); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return candidate, nil
		}
	}
	found, err := exec.LookPath("weft-proxy")
	if err != nil {
		return "", unavailable(fmt.Errorf("weft-proxy is neither beside %s nor in PATH: `make build` makes it, --proxy names it", beside))
	}
	return found, nil
}

// start brings the proxy up: a new token, the process, and its word that it is ready. It returns early when
// ctx ends or the proxy does.
func (s *sidecar) start(ctx context.Context) error {
	control, err := s.join(ctx)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the proxy: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(s.path, s.args(control)...)
	cmd.Dir, cmd.Env = s.p.Dir, s.p.Env
	cmd.Stdout, cmd.Stderr = s.p.ProxyOutput, s.p.ProxyOutput
	cmd.ExtraFiles = []*os.File{w} // descriptor 3
	asked, err := s.heed(cmd)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	cmd.WaitDelay = time.Second
	// Its own process group: Ctrl-C in a terminal must not end it before the program. SIGTERM at our death
	// lets it tell the mesh that it goes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if s.cgroup != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(s.cgroup.Fd())
	}
	proc, err := s.spawn.start(cmd)
	for _, f := range cmd.ExtraFiles {
		_ = f.Close()
	}
	if err != nil {
		_ = asked.Close()
		return unavailable(fmt.Errorf("start the proxy: %w", err))
	}
	ready, err := awaitReady(ctx, r, proc)
	if err != nil {
		proc.terminate(syscall.SIGTERM, s.p.ProxyGrace)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.ready = proc, ready
	return nil
}

// join gets a token for one proxy and the address where it connects.
func (s *sidecar) join(ctx context.Context) (control string, err error) {
	v, err := s.p.Admin.Version(ctx, connect.NewRequest(&adminv1.VersionRequest{}))
	if err != nil {
		return "", fmt.Errorf("ask the control plane: %w", err)
	}
	if control = v.Msg.GetProxyAddress(); control == "" {
		return "", unavailable(errors.New("the control plane tells no address for proxies: restart it with a proxy listener"))
	}
	t, err := s.p.Admin.CreateJoinToken(ctx, connect.NewRequest(&adminv1.CreateJoinTokenRequest{
		Namespace: s.p.Namespace, Account: s.p.Account,
	}))
	if err != nil {
		return "", fmt.Errorf("get a join token for %s/%s: %w", s.p.Namespace, s.p.Account, err)
	}
	return control, s.dir.writeToken(t.Msg.GetToken())
}

// args is the proxy's command line. Ports that it had before a restart it gets again, because the program
// has been told of them.
func (s *sidecar) args(control string) []string {
	s.mu.Lock()
	had := s.ready
	s.mu.Unlock()
	listen := func(was string) string {
		if was != "" {
			return was
		}
		return "127.0.0.1:0"
	}
	args := []string{
		"--control", control, "--token", s.dir.tokenFile(), "--id", s.p.ID, "--service", s.p.Service,
		"--inbound", listen(had.Inbound), "--outbound", listen(had.Outbound),
		"--http-proxy", listen(had.HTTPProxy), "--dns", listen(had.DNS),
		"--admin", "unix://" + s.dir.socket(), "--ready-fd", "3",
		"--log-level", "warn", // standard error is the program's: only what somebody should act on
	}
	args = append(args, s.p.labelArgs()...)
	for _, port := range s.p.ports {
		args = append(args, "--port", port.String())
	}
	if s.p.Health != "" {
		args = append(args, "--health", s.p.Health)
	}
	for _, u := range s.p.upstreams {
		local := fmt.Sprintf("127.0.0.1:%d", u.Local)
		if was := had.Upstreams[u.Key()]; was != "" {
			local = was
		}
		args = append(args, "--upstream", u.Key()+"="+local)
	}
	if s.p.Certificates != "" {
		args = append(args, "--certificates", s.p.Certificates)
	}
	if s.p.AccessLog != "" {
		args = append(args, "--access-log", s.p.AccessLog)
	}
	return args
}

// maxReadyLine bounds what a proxy may say; an upstream takes some 100 bytes of it.
const maxReadyLine = 256 << 10

// awaitReady reads the proxy's line.
func awaitReady(ctx context.Context, r *os.File, proc *process) (Ready, error) {
	type result struct {
		ready Ready
		err   error
	}
	got := make(chan result, 1)
	go func() {
		var ready Ready
		line, err := bufio.NewReader(io.LimitReader(r, maxReadyLine)).ReadBytes('\n')
		if err == nil {
			if err = json.Unmarshal(line, &ready); err == nil {
				err = ready.check()
			}
		}
		got <- result{ready, err}
	}()
	t := time.NewTimer(readyTimeout)
	defer t.Stop()
	var err error
	select {
	case res := <-got:
		if res.err == nil {
			return res.ready, nil
		}
		// Mostly the proxy ended, which closed the pipe: its status says more.
		if !proc.wait(time.Second) {
			return Ready{}, unavailable(fmt.Errorf("the proxy's ready line: %w", res.err))
		}
		return Ready{}, proxyEnded(proc)
	case <-proc.done:
		err = proxyEnded(proc)
	case <-t.C:
		err = unavailable(fmt.Errorf("the proxy was not ready within %s: its log says what it waits for", readyTimeout))
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	r.SetReadDeadline(time.Unix(1, 0))
	<-got
	return Ready{}, err
}

func proxyEnded(proc *process) error {
	return unavailable(fmt.Errorf("the proxy ended before it was ready (%s): its log says why", proc.state))
}

// check refuses a line that no proxy of ours writes.
func (r Ready) check() error {
	for _, a := range []string{r.Inbound, r.Outbound, r.HTTPProxy, r.DNS} {
		if a == "" {
			continue
		}
		if _, err := netip.ParseAddrPort(a); err != nil {
			return err
		}
	}
	return nil
}

// Waits between restarts.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	stableAfter  = 10 * time.Second // a proxy that ran this long starts the series anew
)

// supervise restarts the proxy until ctx ends.
func (s *sidecar) supervise(ctx context.Context) {
	backoff := firstBackoff
	for {
		proc, up := s.current(), time.Now()
		select {
		case <-ctx.Done():
			return
		case <-proc.done:
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(up) >= stableAfter {
			backoff = firstBackoff
		}
		s.p.Logger.Warn("the proxy died and is started again", "status", proc.state.String(), "pid", proc.pid())
		for attempt := 1; ; attempt++ {
			if pause(ctx, backoff) != nil {
				return
			}
			backoff = min(2*backoff, maxBackoff)
			err := s.start(ctx)
			if err == nil {
				err = s.restored(s.readyNow())
			}
			if err == nil {
				s.p.Logger.Info("the proxy is back", "pid", s.current().pid(), "attempts", attempt)
				break
			}
			if ctx.Err() != nil {
				return
			}
			s.p.Logger.Debug("the proxy did not start", "attempt", attempt, "error", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (s *sidecar) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *sidecar) readyNow() Ready {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// leave makes the proxy take its endpoint out of the mesh. It returns when other proxies had time to hear of it.
func (s *sidecar) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.dir.socket())
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://weft-proxy/leave", nil)
	if err != nil {
		return fmt.Errorf("leave the mesh: %w", err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("leave the mesh: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return fmt.Errorf("leave the mesh: the proxy answers %s: %s", resp.Status, why)
	}
	return nil
}

// stop ends the proxy, which drains first.
func (s *sidecar) stop() {
	proc := s.current()
	if proc == nil {
		return
	}
	if proc.terminate(syscall.SIGTERM, s.p.ProxyGrace) {
		s.p.Logger.Warn("the proxy did not drain in time and was killed", "grace", s.p.ProxyGrace)
	}
	s.heeding.Wait()
}
