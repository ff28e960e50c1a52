package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone answers questions with a CNAME and addresses that hold for these times; over UDP it says that it has more to say
// when truncated is set.
type zone struct {
	alias, a, aaaa uint32
	truncated      bool
}

func (z zone) answer(t *testing.T, packet []byte, tcp bool) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		t.Error(err)
		return nil
	}
	q := m.Questions[0]
	real := dnsmessage.MustNewName("real.test.")
	m.Response, m.Additionals, m.Truncated = true, nil, z.truncated && !tcp
	header := func(name dnsmessage.Name, ttl uint32) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Class: q.Class, TTL: ttl}
	}
	if !m.Truncated {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header(q.Name, z.alias), Body: &dnsmessage.CNAMEResource{CNAME: real}})
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header(real, z.a), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}})
		} else {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header(real, z.aaaa), Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()}})
		}
	}
	out, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return out
}

// serve answers on UDP and TCP until the test ends, and returns how to get there.
func (z zone) serve(t *testing.T) dialer {
	t.Helper()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	t.Cleanup(func() { u.Close(); l.Close(); <-done; <-done })
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(z.answer(t, buf[:n], false), from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err == nil {
				packet := make([]byte, binary.BigEndian.Uint16(size[:]))
				_, _ = io.ReadFull(c, packet)
				reply := z.answer(t, packet, true)
				_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
			c.Close()
		}
	}()
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		at := u.LocalAddr().String()
		if network == "tcp" {
			at = l.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}
}

// TestTTLOfNames has a lookup tell the least TTL of all records that it is made of, by UDP and by TCP.
func TestTTLOfNames(t *testing.T) {
	for what, c := range map[string]struct {
		zone
		want time.Duration
	}{
		"an address":       {zone{alias: 300, a: 20, aaaa: 60}, 20 * time.Second},
		"the other family": {zone{alias: 300, a: 60, aaaa: 30}, 30 * time.Second},
		"an alias":         {zone{alias: 7, a: 60, aaaa: 60}, 7 * time.Second},
		"none":             {zone{alias: 0, a: 60, aaaa: 60}, time.Millisecond},
		"by TCP":           {zone{alias: 300, a: 21, aaaa: 60, truncated: true}, 21 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			found, ttl, err := lookupWith(c.serve(t))(ctx, "alias.test")
			if err != nil || ttl != c.want || len(found) != 2 {
				t.Errorf("%v, which hold %v, %v; want %v", found, ttl, err, c.want)
			}
		})
	}
	if _, ttl, err := lookupWith((&net.Dialer{}).DialContext)(t.Context(), "127.0.0.1"); ttl != 0 || err != nil {
		t.Errorf("without a server: %v, %v", ttl, err)
	}
}

// TestNamesAreLookedUpByTTL has a name looked up again when its answer does not hold any more: within bounds, and sooner
// when a lookup failed.
func TestNamesAreLookedUpByTTL(t *testing.T) {
	for _, c := range []struct {
		ttl         time.Duration
		err         error
		least, most time.Duration
	}{
		{time.Minute, nil, time.Minute, 66 * time.Second},
		{time.Second, nil, minRefresh, 6 * time.Second},
		{24 * time.Hour, nil, maxTTL, 330 * time.Second},
		{0, nil, minRefresh * 9 / 10, 6 * time.Second},
		{time.Hour, errors.New("down"), minRefresh * 9 / 10, 6 * time.Second},
	} {
		r := newResolver(slog.New(slog.DiscardHandler), nil)
		r.names["a.test"] = &hostName{known: make(chan struct{})}
		before := time.Now()
		r.took("a.test", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, c.ttl, c.err)
		after := time.Now()
		if next := r.names["a.test"].next; next.Sub(after) > c.most || next.Sub(before) < c.least {
			t.Errorf("a TTL of %v, error %v: looked up again after %v, want %v to %v", c.ttl, c.err, next.Sub(before), c.least, c.most)
		}
	}
}
