package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// starter answers what a proxy asks to be captured, and notes the order in which things happen.
type starter struct {
	conn  net.Conn
	did   []string
	wrong string // the answer
}

func newStarter(t *testing.T) (*starter, *capturing) {
	theirs, ours := net.Pipe()
	s := &starter{conn: ours}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(ours); lines.Scan(); {
			s.did = append(s.did, lines.Text())
			_ = json.NewEncoder(ours).Encode(CaptureAnswer{Error: s.wrong})
		}
	}()
	t.Cleanup(func() { theirs.Close(); ours.Close(); <-done })
	return s, newCapturing(theirs, slog.New(slog.DiscardHandler))
}

// TestCaptureFollowsThePolicy: more is captured before a snapshot that refuses what is no service runs, and less after one
// that does not; what is captured already is not asked for again.
func TestCaptureFollowsThePolicy(t *testing.T) {
	s, c := newStarter(t)
	strict, open := &model.Snapshot{}, &model.Snapshot{}
	strict.Workload.Outbound = &model.Outbound{RegistryOnly: true}
	open.Workload.Outbound = &model.Outbound{}
	for i, snap := range []*model.Snapshot{open, open, strict, strict, open} {
		if err := c.during(snap, func() error { s.did = append(s.did, fmt.Sprint("apply ", i)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"apply 0", `{"all":false}`, "apply 1", `{"all":true}`, "apply 2", "apply 3", "apply 4", `{"all":false}`}
	if !slices.Equal(s.did, want) {
		t.Errorf("got %q\nwant %q", s.did, want)
	}
}

// TestCaptureThatFails: a snapshot that cannot be enforced is refused, with the policy and the reason.
func TestCaptureThatFails(t *testing.T) {
	s, c := newStarter(t)
	s.wrong = "the map is full"
	strict := &model.Snapshot{}
	strict.Workload.Outbound = &model.Outbound{RegistryOnly: true, Ref: model.PolicyRef{Kind: "Sidecar", Namespace: "default", Name: "strict"}}
	applied := false
	err := c.during(strict, func() error { applied = true; return nil })
	if err == nil || applied || err.Error() != "Sidecar default/strict: the map is full" {
		t.Errorf("applied: %v, %v", applied, err)
	}
	s.conn.Close()
	if err = c.during(strict, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "ask for what is captured") {
		t.Errorf("when nobody answers: %v", err)
	}
	// What needs no more than before is not held up.
	refused := errors.New("refused")
	if err = c.during(&model.Snapshot{}, func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if err = c.during(&model.Snapshot{}, func() error { return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}
