package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// maxOutside bounds the hosts outside the mesh that a worker remembers.
const maxOutside = 1024

// external returns an endpoint for a host outside the mesh, for programs that use us as their HTTP proxy.
// Its name is resolved anew when the endpoint has been idle; the connection is plain, as the program asked.
func (w *worker) external(authority string, port uint16, http2 bool) (*endpoint, error) {
	host := authority
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	if host == "" {
		return nil, errors.New("the request names no host")
	}
	key := net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(port)))
	if http2 {
		key += " h2"
	}
	if ep := w.outside[key]; ep != nil && (ep.inflight > 0 || w.loop.Now().Sub(ep.used) < idleUpstream) {
		return ep, nil
	}
	addr, err := w.resolveName(strings.Trim(host, "[]"))
	if err != nil {
		return nil, err
	}
	ep := newEndpoint(w, &model.Endpoint{ID: key, Address: netip.AddrPortFrom(addr, port), Plain: true})
	ep.http2, ep.used = http2, w.loop.Now()
	if old := w.outside[key]; old != nil {
		old.leave()
	} else if len(w.outside) >= maxOutside {
		for k, old := range w.outside {
			old.leave()
			delete(w.outside, k)
			break
		}
	}
	w.outside[strings.Clone(key)] = ep
	return ep, nil
}

// resolveName looks a host up in DNS, off the loop.
func (w *worker) resolveName(host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	host = strings.Clone(host) // the lookup may outlast the request
	var found []netip.Addr
	var err error
	w.blocking(func() {
		ctx, cancel := context.WithTimeout(w.e.ctx, 5*time.Second)
		defer cancel()
		found, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s is no service of the mesh, nor a host that resolves: %w", host, err)
	}
	return found[0].Unmap(), nil
}

// outsideHost reads the host name of an authority, in lower case; ok is false for addresses and single labels.
func outsideHost(authority string) (host string, ok bool) {
	host = strings.ToLower(strings.TrimSuffix(hostOf(authority), "."))
	if !strings.Contains(host, ".") || len(host) > maxHost {
		return "", false
	}
	_, err := netip.ParseAddr(host)
	return host, err != nil
}

// maxHost is the length of the longest host name (RFC 1123, section 2.1).
const maxHost = 253

func localAddr(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}
