package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Bounds, see the package comment.
const (
	maxQuestions   = 1024
	maxForwards    = 256
	maxConns       = 128
	lookupTimeout  = 2 * time.Second
	forwardTimeout = 5 * time.Second
	idleTimeout    = 10 * time.Second // of a TCP connection (RFC 7766, section 6.2.3)
)

// LookupFunc tells the virtual address of a service. known is whether the mesh has a service of that name;
// vip may be zero even then. An error means that nobody can say now. It is called from many goroutines and
// may block until ctx ends.
type LookupFunc func(ctx context.Context, name model.ServiceName) (vip netip.Addr, known bool, err error)

// Options configures a Server.
type Options struct {
	Listen    netip.AddrPort // UDP and TCP; port 0 picks one that is free for both
	Namespace string         // of the asking workload; "default" if empty
	Domain    string         // the mesh's own suffix; "mesh" if empty
	Lookup    LookupFunc     // required
	Upstream  []string       // name servers in order, IP or IP:port, as in resolv.conf; none: SERVFAIL
	Search    []string       // search suffixes of resolv.conf
	Logger    *slog.Logger   // required
}

// Server is the responder.
type Server struct {
	opts      Options
	upstream  []netip.AddrPort
	udp       *net.UDPConn
	tcp       *net.TCPListener
	questions chan struct{}
	forwards  chan struct{}

	mu      sync.Mutex
	asking  map[netip.AddrPort]struct{} // local addresses of the questions we have put upstream
	conns   map[net.Conn]struct{}       // open TCP connections
	closing bool
}

// New checks the options and opens the sockets; Run serves them and closes them. A Server that is never run
// is closed by Close.
func New(o Options) (*Server, error) {
	if o.Lookup == nil || o.Logger == nil {
		return nil, errors.New("DNS responder needs Lookup and Logger")
	}
	if !o.Listen.IsValid() {
		return nil, errors.New("DNS responder needs an address to listen on")
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Domain = normalize(o.Domain); o.Domain == "" {
		o.Domain = "mesh"
	}
	o.Search = slices.Clone(o.Search)
	for i, s := range o.Search {
		o.Search[i] = normalize(s)
	}
	s := &Server{
		opts:      o,
		questions: make(chan struct{}, maxQuestions),
		forwards:  make(chan struct{}, maxForwards),
		asking:    make(map[netip.AddrPort]struct{}),
		conns:     make(map[net.Conn]struct{}),
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	for _, u := range o.Upstream {
		ap, err := parseUpstream(u)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if s.isSelf(ap) {
			o.Logger.Warn("name server is this responder itself; not used", "server", ap)
			continue
		}
		s.upstream = append(s.upstream, ap)
	}
	return s, nil
}

// open binds UDP and TCP to the same port.
func (s *Server) open() error {
	const tries = 16 // a port that is free for UDP may be taken for TCP
	var err error
	for range tries {
		if s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.opts.Listen)); err != nil {
			return fmt.Errorf("DNS responder: %w", err)
		}
		if s.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(s.Addr())); err == nil {
			return nil
		}
		s.udp.Close()
		if s.opts.Listen.Port() != 0 {
			break
		}
	}
	return fmt.Errorf("DNS responder: %w", err)
}

// Addr is where the server listens, UDP and TCP.
func (s *Server) Addr() netip.AddrPort {
	ap := s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Close closes the sockets of a Server that is not run.
func (s *Server) Close() error { return errors.Join(s.udp.Close(), s.tcp.Close()) }

// Run serves until ctx ends, then closes the sockets, waits for the questions in hand and returns nil. It
// returns an error when a socket fails.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, s.shut)
	defer stop()

	var wg sync.WaitGroup
	wg.Go(func() { cancel(s.serveUDP(ctx, &wg)) })
	wg.Go(func() { cancel(s.serveTCP(ctx, &wg)) })
	<-ctx.Done()
	s.shut()
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("DNS responder: %w", err)
	}
	return nil
}

// shut closes everything that a goroutine may be waiting on.
func (s *Server) shut() {
	s.udp.Close()
	s.tcp.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for c := range s.conns {
		c.Close()
	}
}

func (s *Server) serveUDP(ctx context.Context, wg *sync.WaitGroup) error {
	buf := make([]byte, maxUDP)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if isTransient(err) {
				continue
			}
			return err
		}
		select {
		case s.questions <- struct{}{}:
		default:
			continue // the client asks again; it would find a full socket no kinder
		}
		packet := append([]byte(nil), buf[:n]...)
		wg.Go(func() {
			defer func() { <-s.questions }()
			if reply := s.answer(ctx, packet, from, false); reply != nil {
				// A client that has gone is none of our errors.
				_, _ = s.udp.WriteToUDPAddrPort(reply, from)
			}
		})
	}
}

func isTransient(err error) bool {
	var ne net.Error
	// A datagram socket reports the ICMP errors of earlier answers on reads.
	return errors.As(err, &ne) && !errors.Is(err, net.ErrClosed)
}

func parseUpstream(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap, nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("name server %q: want an IP address or IP:port", s)
	}
	return netip.AddrPortFrom(a, 53), nil
}

// isSelf reports whether a name server's address leads back here.
func (s *Server) isSelf(ap netip.AddrPort) bool {
	own := s.Addr()
	if ap.Port() != own.Port() {
		return false
	}
	a := ap.Addr().Unmap().WithZone("")
	return a == own.Addr() || a.IsUnspecified() || own.Addr().IsUnspecified() && isLocal(a)
}

func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, x := range addrs {
		if n, ok := x.(*net.IPNet); ok {
			if b, ok := netip.AddrFromSlice(n.IP); ok && b.Unmap() == a {
				return true
			}
		}
	}
	return false
}
