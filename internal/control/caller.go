package control

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"strconv"
)

// callerKey holds what is known of who calls.
type callerKey struct{}

// caller is who is at the other end of a connection.
type caller struct {
	uid    int // of a unix socket; -1 if unknown
	remote string
}

// withConn notes who connected, for the history.
func withConn(ctx context.Context, c net.Conn) context.Context {
	who := caller{uid: -1}
	if u, ok := c.(*net.UnixConn); ok {
		who.uid = peerUID(u)
	} else if host, _, err := net.SplitHostPort(c.RemoteAddr().String()); err == nil {
		who.remote = host
	}
	return context.WithValue(ctx, callerKey{}, who)
}

// callerOf says in words who calls: what the kernel or the token proves, not what the caller says.
func callerOf(ctx context.Context) string {
	who, ok := ctx.Value(callerKey{}).(caller)
	switch {
	case !ok:
		return ""
	case who.remote != "":
		return "token from " + who.remote
	case who.uid < 0:
		return "unix socket"
	}
	if u, err := user.LookupId(strconv.Itoa(who.uid)); err == nil {
		return fmt.Sprintf("uid %d (%s)", who.uid, u.Username)
	}
	return fmt.Sprintf("uid %d", who.uid)
}
