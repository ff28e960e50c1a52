package local

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
)

// captureAsk and captureAnswer are agent.CaptureAsk and agent.CaptureAnswer.
type captureAsk struct {
	All bool `json:"all"`
}

type captureAnswer struct {
	Error string `json:"error,omitempty"`
}

// heed lets the proxy of a command say, while it runs, which connections of the program are captured. What it returns
// is to be closed when the command does not start; else it ends with the proxy.
func (s *sidecar) heed(cmd *exec.Cmd) (io.Closer, error) {
	if s.everything == nil {
		return io.NopCloser(nil), nil
	}
	ours, theirs, err := newFeed()
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Args = append(cmd.Args, "--capture-fd", fmt.Sprint(2+len(cmd.ExtraFiles)))
	s.heeding.Go(func() {
		defer ours.conn.Close()
		lines, answers := bufio.NewScanner(ours.conn), json.NewEncoder(ours.conn)
		for lines.Scan() {
			var ask captureAsk
			var answer captureAnswer
			err := json.Unmarshal(lines.Bytes(), &ask)
			if err == nil {
				err = s.everything(ask.All)
			}
			if err != nil {
				answer.Error = err.Error()
			}
			if answers.Encode(answer) != nil {
				return // the proxy has ended, which is seen elsewhere
			}
		}
	})
	return ours.conn, nil
}
