package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

var errHelloSeen = errors.New("the hello has been read")

// maxHello bounds a client's hello with its records.
const maxHello = 16 << 10

// listening is a connection whose first bytes are read by crypto/tls to find the server name, and kept for whoever
// takes the connection. Nothing is written to it.
type listening struct {
	*loop.Conn
	kept []byte
	seen int // of kept
}

func (l *listening) Read(p []byte) (int, error) {
	if n := copy(p, l.kept[l.seen:]); n > 0 {
		l.seen += n
		return n, nil
	}
	room := min(len(p), maxHello-len(l.kept))
	if room == 0 {
		return 0, errors.New("a hello that is too long")
	}
	n, err := l.Conn.Read(p[:room])
	l.kept = append(l.kept, p[:n]...)
	l.seen = len(l.kept)
	return n, err
}

func (l *listening) Write(p []byte) (int, error) { return len(p), nil }

func (l *listening) Close() error { return nil }

// serverName reads the hello and returns the server name in it, in lower case, "" if it has none.
func (l *listening) serverName(w *worker) (name string, err error) {
	_ = l.Conn.SetDeadline(w.loop.Now().Add(handshakeTimeout))
	conf := &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = strings.ToLower(hello.ServerName)
		return nil, errHelloSeen
	}}
	err = tls.Server(l, conf).Handshake() //nolint:noctx // parks inside the connection, whose deadline ends it
	_ = l.Conn.SetDeadline(time.Time{})
	if errors.Is(err, errHelloSeen) {
		return name, nil
	}
	return "", err
}

// serveNamed serves a connection of TLS as the listener of its server name does: the connection is carried to a backend as
// it is, or TLS ends here. A name that no listener has is refused as by one that ends TLS, where there is one.
func (s *h1server) serveNamed() {
	w, raw, socket := s.w, s.c.raw, s.o.entry.socket
	l := &listening{Conn: raw}
	var err error
	if s.o.sni, err = l.serverName(w); err != nil {
		w.refused(s.o.remote, flagBadHandshake, fmt.Errorf("no hello of TLS: %w", err))
		s.close()
		return
	}
	kind := socket.Kind
	if kind == model.SocketMixed {
		if kind = model.SocketHTTPS; socket.listener(s.o.sni) != nil {
			kind = socket.KindOf(socket.listener(s.o.sni).Listener)
		}
	}
	if kind.TLS() {
		s.serveTLS(kind, l.kept)
		return
	}
	delete(w.servers, s)
	w.serveTCP(raw, nil, s.o, l.kept)
}
