package model

import "cmp"

// MergePolicy returns the policy of the more specific target with the gaps filled from the more general one, field
// by field: Retry, Hedge, Session and MirrorDiff are taken whole, and so are the lists. Either may be nil. Neither is changed; the
// result may be one of them, or share what they point to. Ref is the specific one's, if it has one.
func MergePolicy(specific, general *Policy) *Policy {
	switch {
	case specific == nil:
		return general
	case general == nil || specific == general:
		return specific
	}
	out := *specific
	out.Ref = cmp.Or(out.Ref, general.Ref)
	if out.Timeout == 0 && !out.NoTimeout {
		out.Timeout, out.NoTimeout = general.Timeout, general.NoTimeout
	}
	out.BackendTimeout = cmp.Or(out.BackendTimeout, general.BackendTimeout)
	out.IdleTimeout = cmp.Or(out.IdleTimeout, general.IdleTimeout)
	out.AuthTimeout = cmp.Or(out.AuthTimeout, general.AuthTimeout)
	out.Retry = cmp.Or(out.Retry, general.Retry)
	out.Hedge = cmp.Or(out.Hedge, general.Hedge)
	out.MirrorDiff = cmp.Or(out.MirrorDiff, general.MirrorDiff)
	out.Session = cmp.Or(out.Session, general.Session)
	if len(out.Faults) == 0 {
		out.Faults = general.Faults
	}
	if len(out.Limits) == 0 {
		out.Limits = general.Limits
	}
	return &out
}

// MergeUpstream is MergePolicy for how endpoints are reached. Balance is one field, because its parts belong together;
// those of Connections are merged one by one.
func MergeUpstream(specific, general *Upstream) *Upstream {
	switch {
	case specific == nil:
		return general
	case general == nil || specific == general:
		return specific
	}
	out := *specific
	out.Ref = cmp.Or(out.Ref, general.Ref)
	if out.Balance.IsZero() {
		out.Balance = general.Balance
	}
	out.Ejection = cmp.Or(out.Ejection, general.Ejection)
	out.Health = cmp.Or(out.Health, general.Health)
	out.Budget = cmp.Or(out.Budget, general.Budget)
	out.RetryAfter = cmp.Or(out.RetryAfter, general.RetryAfter)
	if out.TLS = cmp.Or(out.TLS, general.TLS); len(out.PortTLS) == 0 {
		out.PortTLS = general.PortTLS
	}
	out.Egress = cmp.Or(out.Egress, general.Egress)
	out.Tunnel = cmp.Or(out.Tunnel, general.Tunnel)
	out.ProxyHeader = cmp.Or(out.ProxyHeader, general.ProxyHeader)
	out.Ports = mergePorts(specific, general)
	c, g := &out.Connections, &general.Connections
	c.Max = cmp.Or(c.Max, g.Max)
	c.Requests = cmp.Or(c.Requests, g.Requests)
	c.Pending = cmp.Or(c.Pending, g.Pending)
	c.Retries = cmp.Or(c.Retries, g.Retries)
	c.PerConnection = cmp.Or(c.PerConnection, g.PerConnection)
	c.Streams = cmp.Or(c.Streams, g.Streams)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, g.ConnectTimeout)
	c.Idle = cmp.Or(c.Idle, g.Idle)
	c.MaxAge = cmp.Or(c.MaxAge, g.MaxAge)
	c.TCPIdle = cmp.Or(c.TCPIdle, g.TCPIdle)
	c.KeepAlive = cmp.Or(c.KeepAlive, g.KeepAlive)
	c.Ping = cmp.Or(c.Ping, g.Ping)
	c.ClientProtocol = c.ClientProtocol || g.ClientProtocol
	return &out
}
