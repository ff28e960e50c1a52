package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// ManagedAsk is what a gateway's proxy says to who started it, as a line of JSON: the hosts whose certificates are asked
// for by ACME, or that what came with a line is in force.
type ManagedAsk struct {
	Hosts   []string `json:"hosts,omitempty"`
	Seq     uint64   `json:"seq,omitempty"`     // of the hosts; 0: there are none in this line
	Applied uint64   `json:"applied,omitempty"` // ManagedLine.ID
}

// ManagedLine has the certificates and challenges of the hosts last asked for.
type ManagedLine struct {
	ID      uint64         `json:"id"`
	Seq     uint64         `json:"seq"` // of the hosts that it is for
	Managed *model.Managed `json:"managed"`
}

// managedWait bounds how long a snapshot waits for certificates that there may be already.
const managedWait = 2 * time.Second

// managed gets certificates by ACME from who started the proxy: weft-proxy itself knows no CA. The nil managed is of
// a proxy without.
type managed struct {
	conn    io.ReadWriteCloser
	log     *slog.Logger
	changed chan struct{} // capacity 1: there is a line that is not in force

	mu     sync.Mutex
	hosts  []string
	seq    uint64
	line   ManagedLine
	answer chan struct{} // closed and replaced with each line
	said   uint64        // the last line that was said to be in force
	broken bool
}

func newManaged(conn io.ReadWriteCloser, log *slog.Logger) *managed {
	return &managed{conn: conn, log: log, changed: make(chan struct{}, 1), answer: make(chan struct{})}
}

// run takes lines until ctx ends, or the other side does: then what there is stays.
func (m *managed) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = m.conn.Close() })()
	lines := bufio.NewScanner(m.conn)
	lines.Buffer(make([]byte, 0, 64<<10), maxSnapshot)
	for lines.Scan() {
		var line ManagedLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Managed == nil {
			m.log.Error("certificates by ACME cannot be read")
			continue
		}
		m.mu.Lock()
		m.line = line
		m.wake()
		m.mu.Unlock()
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	m.mu.Lock()
	m.broken = true
	m.wake()
	m.mu.Unlock()
	if ctx.Err() == nil {
		m.log.Error("there are no more certificates by ACME: those there are go on", "error", lines.Err())
	}
	return nil
}

// wake tells those who wait that something came. mu is held.
func (m *managed) wake() {
	close(m.answer)
	m.answer = make(chan struct{})
}

// complete returns a snapshot with the certificates that came by ACME, and what to call applied with. Where the hosts
// are others than before it waits for those that there are.
func (m *managed) complete(s *model.Snapshot, log *slog.Logger) (*model.Snapshot, uint64) {
	hosts := s.ManagedHosts()
	if m == nil {
		if len(hosts) > 0 {
			log.Warn("listeners ask for certificates by ACME and get none: start the gateway with --acme EMAIL", "hosts", strings.Join(hosts, " "))
		}
		return s, 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(hosts, m.hosts) && !m.broken {
		m.hosts, m.seq = hosts, m.seq+1
		if err := m.tell(ManagedAsk{Hosts: hosts, Seq: m.seq}); err != nil {
			m.log.Error("certificates by ACME cannot be asked for", "error", err)
		} else {
			m.await(m.seq)
		}
	}
	if m.line.Managed == nil {
		return s.WithManaged(&model.Managed{}), 0
	}
	return s.WithManaged(m.line.Managed), m.line.ID
}

// await waits for the line of hosts. mu is held, and given up meanwhile.
func (m *managed) await(seq uint64) {
	timer := time.NewTimer(managedWait)
	defer timer.Stop()
	for m.line.Seq < seq && !m.broken {
		answer := m.answer
		m.mu.Unlock()
		select {
		case <-answer:
			m.mu.Lock()
		case <-timer.C:
			m.mu.Lock()
			return
		}
	}
}

// applied says that a line is in force.
func (m *managed) applied(id uint64) {
	if m == nil || id == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id <= m.said || m.broken {
		return
	}
	m.said = id
	if err := m.tell(ManagedAsk{Applied: id}); err != nil {
		m.log.Error("who asks for certificates by ACME is not told of what is in force", "error", err)
	}
}

// stale reports whether there is a line that is not in force.
func (m *managed) stale() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.line.ID > m.said
}

func (m *managed) tell(ask ManagedAsk) error {
	line, err := json.Marshal(ask)
	if err == nil {
		_, err = m.conn.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("to who started the proxy: %w", err)
	}
	return nil
}

// changedOf is m.changed; nil, which nothing comes from, without m.
func (m *managed) changedOf() <-chan struct{} {
	if m == nil {
		return nil
	}
	return m.changed
}
