package proxy

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"

	"github.com/weft-mesh/weft/internal/message"
)

// WebSocket over HTTP/1.1 has a challenge (RFC 6455, section 4.1) that WebSocket over HTTP/2 has not
// (RFC 8441, section 5): where a request goes from one to the other, the proxy makes it or answers it.
const (
	websocket       = "websocket"
	websocketKey    = "sec-websocket-key"
	websocketAccept = "sec-websocket-accept"
	websocketGUID   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// acceptOf is the answer to a challenge.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + websocketGUID)) // what the protocol asks for; it protects nothing
	return base64.StdEncoding.EncodeToString(sum[:])
}

// challenge adds the key that a client of HTTP/2 has not sent, for a server of HTTP/1.1.
func (x *exchange) challenge() {
	if x.req.Protocol != websocket || x.up.HTTP2() || x.req.Get(websocketKey) != "" {
		return
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	x.websocketKey = base64.StdEncoding.EncodeToString(nonce[:])
	x.req.Set(websocketKey, x.websocketKey)
}

var errBadAccept = errors.New("the server agreed to WebSocket with a wrong Sec-WebSocket-Accept")

// accepted checks the answer to a challenge of ours and takes it out; and makes the one that a client of
// HTTP/1.1 waits for when the server, of HTTP/2, gave none.
func (x *exchange) accepted(h *message.Head) error {
	switch {
	case x.req.Protocol != websocket:
	case x.websocketKey != "":
		if h.Get(websocketAccept) != acceptOf(x.websocketKey) {
			return errBadAccept
		}
		h.Del(websocketAccept)
	case !x.down.HTTP2() && h.Get(websocketAccept) == "":
		h.Set(websocketAccept, acceptOf(x.req.Get(websocketKey)))
	}
	return nil
}
