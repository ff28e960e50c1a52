package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// feed gives snapshots to a proxy that this process started; see agent.FeedAnswer.
type feed struct {
	conn    net.Conn
	answers *bufio.Reader
}

var errFeedBroken = errors.New("the proxy does not answer")

// newFeed makes both ends of a stream socket: ours, and the file the proxy inherits.
func newFeed() (ours *feed, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "feed")
	own := os.NewFile(uintptr(fds[0]), "feed")
	defer own.Close()
	conn, err := net.FileConn(own)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return &feed{conn: conn, answers: bufio.NewReader(conn)}, theirs, nil
}

// applyTimeout bounds how long a proxy may take for a snapshot, its start included.
const applyTimeout = 30 * time.Second

// apply gives a snapshot and waits for the answer; an error of the proxy is its reason for refusing.
func (f *feed) apply(ctx context.Context, s *model.Snapshot) error {
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_ = f.conn.SetDeadline(time.Now().Add(applyTimeout))
	defer context.AfterFunc(ctx, func() { _ = f.conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := f.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%w: %w", errFeedBroken, err)
	}
	var answer struct {
		Revision int64  `json:"revision"`
		Error    string `json:"error"`
	}
	text, err := f.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errFeedBroken, err)
	case answer.Error != "":
		return errors.New(answer.Error)
	case answer.Revision != s.Revision:
		return fmt.Errorf("%w: it answers for revision %d instead of %d", errFeedBroken, answer.Revision, s.Revision)
	}
	return nil
}

func (f *feed) close() { _ = f.conn.Close() }

// command is the proxy's command line.
func (e *edge) command(feed *os.File) *exec.Cmd {
	args := []string{
		"--feed-fd", "3", "--id", "gateway", "--loops", strconv.Itoa(e.o.Loops), "--log-level", e.o.LogLevel,
	}
	if e.o.Admin != "" {
		args = append(args, "--admin", e.o.Admin)
	}
	if e.o.AccessLog != "" {
		args = append(args, "--access-log", e.o.AccessLog)
	}
	cmd := exec.Command(e.path, args...)
	cmd.Stdout, cmd.Stderr = e.o.Stdout, e.o.Stderr
	cmd.ExtraFiles = []*os.File{feed}
	cmd.WaitDelay = time.Second
	// Its own process group: Ctrl-C in a terminal is for us, who let it drain.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}
