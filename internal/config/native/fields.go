package native

import "github.com/weft-mesh/weft/internal/model"

// Fields returns the sections that a policy says something in, as they are written. They are what
// model.MergePolicy and model.MergeUpstream take from one policy or the other.
func (p *Policy) Fields() []string {
	var out []string
	add := func(name string, set bool) {
		if set {
			out = append(out, name)
		}
	}
	if m := p.Policy; m != nil {
		add("timeouts.request", m.Timeout != 0 || m.NoTimeout)
		add("timeouts.perTry", m.BackendTimeout != 0)
		add("timeouts.idle", m.IdleTimeout != 0)
		add("timeouts.auth", m.AuthTimeout != 0)
		add("retries", m.Retry != nil)
		add("hedging", m.Hedge != nil)
		add("faults", len(m.Faults) > 0)
		add("rateLimits", len(m.Limits) > 0)
		add("sessionPersistence", m.Session != nil)
		add("mirrorDiff", m.MirrorDiff != nil)
	}
	if u := p.Upstream; u != nil {
		connectionFields(&u.Connections, add)
		add("retries.budget", u.Budget != nil)
		add("ejection", u.Ejection != nil)
		add("retryAfter", u.RetryAfter != nil)
		add("healthCheck", u.Health != nil)
		add("loadBalancing", !u.Balance.IsZero())
		add("egress", u.Egress != nil)
		add("tunnel", u.Tunnel != nil)
		portFields(u.Ports, add)
	}
	add("clients.proxyProtocol", p.Clients != nil)
	return out
}

func connectionFields(m *model.Connections, add func(name string, set bool)) {
	add("timeouts.connect", m.ConnectTimeout != 0)
	add("limits.connections", m.Max != 0)
	add("limits.requests", m.Requests != 0)
	add("limits.pending", m.Pending != 0)
	add("limits.retries", m.Retries != 0)
	add("limits.requestsPerConnection", m.PerConnection != 0)
	add("limits.streamsPerConnection", m.Streams != 0)
	add("limits.maxConnectionAge", m.MaxAge != 0)
	add("limits.maxConnectionIdle", m.Idle != 0)
	add("limits.tcpKeepalive", m.KeepAlive != nil)
	add("limits.http2Keepalive", m.Ping != nil)
	add("limits.clientProtocol", m.ClientProtocol)
}
