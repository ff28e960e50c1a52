package local

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/platform/acme"
)

// managedAsk and managedLine are agent.ManagedAsk and agent.ManagedLine.
type managedAsk struct {
	Hosts   []string `json:"hosts"`
	Seq     uint64   `json:"seq"`
	Applied uint64   `json:"applied"`
}

type managedLine struct {
	ID      uint64         `json:"id"`
	Seq     uint64         `json:"seq"`
	Managed *model.Managed `json:"managed"`
}

// managedLink gives the proxy of a mesh's gateway the certificates that come by ACME: the proxy, which has its
// documents from the control plane, says for which hosts. It ends with the proxy.
type managedLink struct {
	acme *acme.Manager
	log  *slog.Logger
	conn net.Conn

	hosts    []string
	seq, id  uint64
	versions map[uint64]uint64 // of the manager, by ID of the line that has them
}

// newManagedLink makes a link and the proxy's end of it.
func newManagedLink(m *acme.Manager, log *slog.Logger) (*managedLink, *os.File, error) {
	f, theirs, err := newFeed()
	if err != nil {
		return nil, nil, err
	}
	return &managedLink{acme: m, log: log, conn: f.conn, versions: map[uint64]uint64{}}, theirs, nil
}

// run serves the proxy until it ends, or ctx does.
func (l *managedLink) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	asks := make(chan managedAsk)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(asks)
		lines := bufio.NewScanner(l.conn)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var ask managedAsk
			if err := json.Unmarshal(lines.Bytes(), &ask); err != nil {
				l.log.Error("the proxy asks for certificates by ACME in a way that cannot be read", "error", err)
				return
			}
			select {
			case asks <- ask:
			case <-ctx.Done():
				return
			}
		}
	})
	defer wg.Wait()
	defer l.conn.Close()
	defer cancel()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case ask, ok := <-asks:
			if !ok {
				return
			}
			err = l.take(ask)
		case <-l.acme.Changed():
			err = l.send()
		}
		if err != nil {
			return // the proxy has ended, which is seen elsewhere
		}
	}
}

// take does what the proxy asks for.
func (l *managedLink) take(ask managedAsk) error {
	if ask.Applied > 0 {
		if version, ok := l.versions[ask.Applied]; ok {
			l.acme.Applied(version)
		}
		for id := range l.versions {
			if id <= ask.Applied {
				delete(l.versions, id)
			}
		}
	}
	if ask.Seq == 0 {
		return nil
	}
	l.hosts, l.seq = ask.Hosts, ask.Seq
	if err := l.send(); err != nil {
		return err
	}
	if err := l.acme.Manage(l.hosts); err != nil {
		l.log.Error("certificates by ACME are not kept for all hosts", "error", err)
	}
	return nil
}

// send gives the proxy what there is for its hosts.
func (l *managedLink) send() error {
	managed, version := l.acme.Managed(l.hosts)
	l.id++
	l.versions[l.id] = version
	line, err := json.Marshal(managedLine{ID: l.id, Seq: l.seq, Managed: managed})
	if err != nil {
		return err
	}
	_, err = l.conn.Write(append(line, '\n'))
	return err
}
