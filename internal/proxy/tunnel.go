package proxy

import (
	"fmt"
	"net"
	"strconv"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// A tunnel by a forward proxy: a connection of bytes to a plain endpoint is a CONNECT request to it, or a POST, which names
// where the endpoint is to carry the bytes. It is sent by the version of HTTP that the endpoint declares.

// tunnelFor returns where the endpoint that was picked is to carry the exchange's bytes; nil: it takes them itself.
func (x *exchange) tunnelFor(ep *endpoint) *model.Tunnel {
	if !x.opaque || !ep.model.Plain || x.set == nil || x.set.pool.upstream == nil {
		return nil
	}
	return x.set.pool.upstream.Tunnel
}

// address makes the request that opens the tunnel of an exchange's head.
func (x *exchange) address(t *model.Tunnel) {
	h := x.req
	h.Method, h.Protocol, h.Length = "CONNECT", "", message.Unknown
	h.Authority = net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
	if t.Post {
		h.Method, h.Scheme, h.Path = "POST", "http", "/"
	}
	// Nothing of the client's is the forward proxy's business.
	h.Fields = h.Fields[:0]
}

// refusedTunnel says that the forward proxy does not carry the bytes, which nobody has then seen; nil if it does.
func (x *exchange) refusedTunnel(h *message.Head) *Failure {
	t := x.tunnelFor(x.ep)
	if t == nil || h.Status/100 == 2 {
		return nil
	}
	x.tried = append(x.tried, x.ep)
	return &Failure{"connect", 503, flagConnect, fmt.Errorf("%s of %s answers %d to %s %s", x.ep.describe(), x.where(), h.Status, x.req.Method, x.req.Authority)}
}

// propose sends the head of what is to become a tunnel; content follows the agreement.
func (x *exchange) propose() *Failure {
	err := x.up.SendHead(x.req, false)
	if err == nil {
		err = x.up.Flush()
	}
	if err != nil {
		return x.sendFailure(err)
	}
	return nil
}
