package identity

import (
	"context"
	"net"
)

// SetDial replaces the way to the control plane, for tests on a fake network.
func (s *Source) SetDial(dial func(context.Context) (net.Conn, error)) { s.control.dial = dial }
