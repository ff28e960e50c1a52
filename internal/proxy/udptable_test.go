package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

func peerOf(i int) loop.Peer {
	return loop.Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)}
}

// TestSessionTable plays clients of different idle times in virtual time against a plain model of what must be there.
func TestSessionTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(1000, 0)
	table := newSessionTable()
	used, idle := map[loop.Peer]time.Time{}, map[loop.Peer]time.Duration{}
	for step := range 20_000 {
		now = now.Add(time.Duration(r.IntN(300)) * time.Millisecond)
		p := peerOf(r.IntN(200))
		s := table.byPeer[p]
		if (s != nil) != !used[p].IsZero() {
			t.Fatalf("step %d: session %v, used %v", step, s != nil, used[p])
		}
		if s == nil {
			s = &udpSession{peer: p, idle: []time.Duration{time.Second, 10 * time.Second, time.Minute}[r.IntN(3)]}
			table.add(s, now)
			idle[p] = s.idle
		} else {
			table.use(s, now)
		}
		used[p] = now
		if r.IntN(10) == 0 {
			table.expired(now, table.remove)
			for p, at := range used {
				if now.Sub(at) >= idle[p] {
					delete(used, p)
				}
			}
		}
		if table.len() != len(used) {
			t.Fatalf("step %d: %d sessions, want %d", step, table.len(), len(used))
		}
		oldest := table.ends.next
		for p, at := range used {
			if at.Before(oldest.used) {
				t.Fatalf("step %d: %v was used before the oldest", step, p)
			}
		}
	}
	now = now.Add(time.Minute)
	if table.expired(now, table.remove); table.len() != 0 || table.ends.next != &table.ends {
		t.Errorf("%d sessions are left after a minute", table.len())
	}
}

func TestSessionTableVictim(t *testing.T) {
	now := time.Unix(1000, 0)
	table := newSessionTable()
	if table.victim(now) != nil {
		t.Error("an empty table has a victim")
	}
	for i := range 3 {
		table.add(&udpSession{peer: peerOf(i), idle: time.Minute}, now.Add(time.Duration(i)*time.Millisecond))
	}
	table.use(table.byPeer[peerOf(0)], now.Add(5*time.Millisecond))
	if table.victim(now.Add(time.Second)) != nil {
		t.Error("a session is a victim that was used within the last second")
	}
	if s := table.victim(now.Add(1001 * time.Millisecond)); s == nil || s.peer != peerOf(1) {
		t.Errorf("the victim is %v", s)
	}
	table.hurry(time.Second)
	gone := ""
	table.expired(now.Add(1002*time.Millisecond), func(s *udpSession) { gone += fmt.Sprint(s.peer.Addr.Addr().As4()[3]); table.remove(s) })
	if gone != "12" {
		t.Errorf("%q have gone in a hurry", gone)
	}
}
