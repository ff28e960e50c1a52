package dns

import (
	"context"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// ttlSeconds is short: a service can come and go, and asking again costs a datagram on loopback.
const ttlSeconds = 5

// maxUDP is the longest datagram taken; a question is a few hundred bytes at most.
const maxUDP = 4096

// announced is the size in our OPT records: what passes any path unfragmented (DNS flag day 2020).
const announced = 1232

// question is a query that can be answered.
type question struct {
	header  dnsmessage.Header
	q       dnsmessage.Question
	packet  []byte
	from    netip.AddrPort
	tcp     bool
	edns    bool
	udpSize int // what the client takes in a datagram
}

// answer returns the reply to a packet, or nil to send none.
func (s *Server) answer(ctx context.Context, packet []byte, from netip.AddrPort, tcp bool) []byte {
	q, code, ok := parseQuestion(packet)
	if !ok {
		return nil
	}
	q.from, q.tcp = from, tcp
	switch {
	case code != dnsmessage.RCodeSuccess:
		return q.reply(code, false, netip.Addr{}, "")
	case s.isOurs(from):
		// A name server that asks us what we asked it would go on for ever.
		s.opts.Logger.Warn("name server sends our questions back to us", "name", q.q.Name.String())
		return q.reply(dnsmessage.RCodeRefused, false, netip.Addr{}, "")
	case q.q.Class != dnsmessage.ClassINET:
		return s.forward(ctx, q)
	}
	return s.resolve(ctx, q)
}

// resolve decides between the mesh and the name server.
func (s *Server) resolve(ctx context.Context, q *question) []byte {
	name := normalize(q.q.Name.String())
	ctxLookup, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if vip, ok := s.host(ctxLookup, name); ok {
		return q.reply(dnsmessage.RCodeSuccess, true, vip, s.opts.Domain)
	}
	if c, ok := s.parse(name); ok {
		vip, known, err := s.opts.Lookup(ctxLookup, c.service)
		single := !strings.Contains(name, ".")
		switch {
		case err == nil && known:
			return q.reply(dnsmessage.RCodeSuccess, true, vip, s.opts.Domain)
		case err != nil && (c.ours || single):
			return q.reply(dnsmessage.RCodeServerFailure, false, netip.Addr{}, "")
		case c.ours || single && len(s.upstream) == 0:
			return q.reply(dnsmessage.RCodeNameError, true, netip.Addr{}, s.opts.Domain)
		}
		if known, failed := s.searched(ctxLookup, name); known {
			return q.reply(dnsmessage.RCodeNameError, true, netip.Addr{}, s.opts.Domain)
		} else if err != nil || failed {
			return notDenied(q, s.forward(ctx, q))
		}
		return s.forward(ctx, q)
	}
	if _, ours := cutSuffix(name, s.opts.Domain); ours || name == s.opts.Domain {
		return q.reply(dnsmessage.RCodeNameError, true, netip.Addr{}, s.opts.Domain)
	}
	if known, _ := s.searched(ctxLookup, name); known {
		return q.reply(dnsmessage.RCodeNameError, true, netip.Addr{}, s.opts.Domain)
	}
	return s.forward(ctx, q)
}

// searched reports whether name is a service's name with a search suffix behind it.
func (s *Server) searched(ctx context.Context, name string) (known, failed bool) {
	rest, ok := s.unsearched(name)
	if !ok {
		return false, false
	}
	c, ok := s.parse(rest)
	if !ok {
		return false, false
	}
	_, known, err := s.opts.Lookup(ctx, c.service)
	return known && err == nil, err != nil
}

// notDenied turns "does not exist" into "cannot say now", for a name that may be a service's while nobody
// can tell: a client must not remember that it does not exist.
func notDenied(q *question, reply []byte) []byte {
	if len(reply) >= 4 && dnsmessage.RCode(reply[3]&0xf) == dnsmessage.RCodeNameError {
		return q.reply(dnsmessage.RCodeServerFailure, false, netip.Addr{}, "")
	}
	return reply
}

// parseQuestion reads a query. ok is false when the packet deserves no reply; code is what to refuse it with.
func parseQuestion(packet []byte) (q *question, code dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.Response {
		return nil, 0, false
	}
	q = &question{header: h, packet: packet, udpSize: 512}
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	qs, err := p.AllQuestions()
	if err != nil || len(qs) != 1 {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.q = qs[0]
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	for {
		rh, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return q, dnsmessage.RCodeSuccess, true
		}
		if err != nil || p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, true
		}
		if rh.Type == dnsmessage.TypeOPT {
			q.edns, q.udpSize = true, max(512, int(rh.Class))
		}
	}
}

// reply builds an answer of our own. With authority it speaks for the mesh's domain: the address if it was
// asked for, and otherwise the SOA that says how long the absence holds (RFC 2308, section 3).
func (q *question) reply(code dnsmessage.RCode, authority bool, vip netip.Addr, domain string) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, Authoritative: authority,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	err := b.StartQuestions()
	if err == nil && q.q.Name.Length > 0 {
		err = b.Question(q.q)
	}
	wantsA := q.q.Type == dnsmessage.TypeA || q.q.Type == dnsmessage.TypeALL
	if err == nil && authority && code == dnsmessage.RCodeSuccess && wantsA && vip.Is4() {
		if err = b.StartAnswers(); err == nil {
			err = b.AResource(q.resourceHeader(q.q.Name), dnsmessage.AResource{A: vip.As4()})
		}
	} else if err == nil && authority {
		err = q.soa(&b, domain)
	}
	if err == nil && q.edns {
		if err = b.StartAdditionals(); err == nil {
			var h dnsmessage.ResourceHeader
			if err = h.SetEDNS0(announced, dnsmessage.RCodeSuccess, false); err == nil {
				err = b.OPTResource(h, dnsmessage.OPTResource{})
			}
		}
	}
	if err != nil {
		return nil // a name that does not pack was never parsed
	}
	packet, err := b.Finish()
	if err != nil {
		return nil
	}
	return packet
}

func (q *question) resourceHeader(name dnsmessage.Name) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttlSeconds}
}

func (q *question) soa(b *dnsmessage.Builder, domain string) error {
	name, err := dnsmessage.NewName(domain + ".")
	if err != nil {
		return err
	}
	mbox, err := dnsmessage.NewName("hostmaster." + domain + ".")
	if err != nil {
		return err
	}
	if err := b.StartAuthorities(); err != nil {
		return err
	}
	return b.SOAResource(q.resourceHeader(name), dnsmessage.SOAResource{
		NS: name, MBox: mbox, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: ttlSeconds,
	})
}
