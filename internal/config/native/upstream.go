package native

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// upstream reads what a policy says of endpoints; nil when that is nothing.
func (c *checker) upstream(s *spec, f *document.Field) *model.Upstream {
	out := &model.Upstream{}
	if s.Limits != nil {
		out.Connections = c.limits(s.Limits, f.Key("limits"))
	}
	if t := s.Timeouts; t != nil {
		at := f.Key("timeouts").Key("connect")
		out.Connections.ConnectTimeout = c.duration(t.Connect, time.Millisecond, time.Hour, at)
		if request := c.quiet(t.Request); request > 0 && out.Connections.ConnectTimeout > request {
			c.add(at, fmt.Sprintf("is %s, longer than request, which is %s", short(out.Connections.ConnectTimeout), short(request)), "write at most as much as request")
		}
	}
	if s.Retries != nil && s.Retries.Budget != nil {
		out.Budget = c.budget(s.Retries.Budget, f.Key("retries").Key("budget"))
	}
	if s.Ejection != nil {
		out.Ejection = c.ejection(s.Ejection, f.Key("ejection"))
	}
	if s.RetryAfter != nil {
		out.RetryAfter = &model.RetryAfter{Max: c.duration(s.RetryAfter.Max, time.Second, time.Hour, f.Key("retryAfter").Key("max"))}
	}
	if s.Egress != nil {
		out.Egress = c.egress(s.Egress, f.Key("egress"))
	}
	if s.HealthCheck != nil {
		out.Health = c.healthCheck(s.HealthCheck, f.Key("healthCheck"))
	}
	if s.LoadBalancing != nil {
		out.Balance = c.balance(s.LoadBalancing, f.Key("loadBalancing"))
	}
	if s.Tunnel != nil {
		out.Tunnel = c.tunnel(s.Tunnel, f.Key("tunnel"))
	}
	out.Ports = c.ports(s.Ports, f.Key("ports"))
	if len(out.Ports) == 0 && out.Tunnel == nil && out.Connections == (model.Connections{}) && out.Budget == nil && out.Ejection == nil && out.RetryAfter == nil && out.Health == nil && out.Egress == nil && out.Balance.IsZero() {
		return nil
	}
	return out
}

// quiet is a duration that is judged elsewhere.
func (c *checker) quiet(d duration) time.Duration {
	s, _ := d.v.(string)
	x, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return x
}

func (c *checker) limits(l *limits, f *document.Field) model.Connections {
	const most = math.MaxInt32
	out := model.Connections{
		Max:           c.integer(l.Connections, 1, most, 0, f.Key("connections")),
		Requests:      c.integer(l.Requests, 1, most, 0, f.Key("requests")),
		Pending:       c.integer(l.Pending, 1, most, 0, f.Key("pending")),
		Retries:       c.integer(l.Retries, 1, most, 0, f.Key("retries")),
		PerConnection: c.integer(l.RequestsPerConnection, 1, most, 0, f.Key("requestsPerConnection")),
		Streams:       c.integer(l.StreamsPerConnection, 1, most, 0, f.Key("streamsPerConnection")),
		MaxAge:        c.duration(l.MaxConnectionAge, time.Second, maxDuration, f.Key("maxConnectionAge")),
		Idle:          c.duration(l.MaxConnectionIdle, time.Second, maxDuration, f.Key("maxConnectionIdle")),
	}
	if k := l.TCPKeepalive; k != nil {
		at := f.Key("tcpKeepalive")
		out.KeepAlive = &model.KeepAlive{
			Time:     c.duration(k.Time, time.Second, 9*time.Hour, at.Key("time")),
			Interval: c.duration(k.Interval, time.Second, 9*time.Hour, at.Key("interval")),
			Probes:   c.integer(k.Probes, 1, 127, 0, at.Key("probes")),
		}
	}
	out.ClientProtocol = l.ClientProtocol
	if k := l.HTTP2Keepalive; k != nil {
		out.Ping = c.ping(k, f.Key("http2Keepalive"))
	}
	return out
}

// Defaults of limits.http2Keepalive.
const (
	defaultPing        = 30 * time.Second
	defaultPingTimeout = 10 * time.Second
)

func (c *checker) ping(k *http2Keepalive, f *document.Field) *model.Ping {
	return &model.Ping{
		Interval: cmp.Or(c.duration(k.Interval, time.Second, maxDuration, f.Key("interval")), defaultPing),
		Timeout:  cmp.Or(c.duration(k.Timeout, time.Millisecond, time.Hour, f.Key("timeout")), defaultPingTimeout),
	}
}

// Defaults of a retry budget (GEP-3388).
const (
	defaultBudget       = 0.2
	defaultMinPerSecond = 10
	defaultWindow       = 10 * time.Second
)

func (c *checker) budget(b *budget, f *document.Field) *model.RetryBudget {
	out := &model.RetryBudget{
		Ratio:        c.share(b.Percent, 0, 100, defaultBudget, f.Key("percent")),
		MinPerSecond: defaultMinPerSecond,
		Window:       c.duration(b.Window, time.Second, time.Hour, f.Key("window")),
	}
	if b.Window.v == nil {
		out.Window = defaultWindow
	}
	if n := b.MinPerSecond; n != nil {
		out.MinPerSecond = *n
		if !(*n >= 0 && *n <= 1_000_000) {
			c.add(f.Key("minPerSecond"), fmt.Sprintf("wants a number 0 to 1000000, has %g", *n), "")
		}
	}
	return out
}

// defaultConsecutive is how many answers 5xx in a row eject an endpoint when nothing else is said.
const defaultConsecutive = 5

func (c *checker) ejection(e *ejection, f *document.Field) *model.Ejection {
	const most = 1_000_000
	out := &model.Ejection{
		Consecutive5xx:     c.integer(e.Consecutive5xx, 0, most, 0, f.Key("consecutive5xx")),
		ConsecutiveGateway: c.integer(e.ConsecutiveGatewayErrors, 0, most, 0, f.Key("consecutiveGatewayErrors")),
		ConsecutiveLocal:   c.integer(e.ConsecutiveLocalErrors, 0, most, 0, f.Key("consecutiveLocalErrors")),
		MaxShare:           c.share(e.MaxEjected, 1, 100, 0, f.Key("maxEjected")),
		MinHealthy:         c.share(e.MinHealthy, 0, 100, 0, f.Key("minHealthy")),
	}
	codes := f.Key("statusCodes")
	c.atMost(len(e.StatusCodes), maxItems, "statuses", codes)
	for i := range e.StatusCodes {
		out.Statuses = append(out.Statuses, c.integer(&e.StatusCodes[i], 100, 599, 0, codes.Index(i)))
	}
	if r := e.SuccessRate; r != nil {
		at := f.Key("successRate")
		if r.Below.v == nil {
			c.add(at.Key("below"), "is missing", `write the success rate below which an endpoint is ejected, for example "90%"`)
		}
		out.SuccessRate = c.share(r.Below, 0.001, 100, 0, at.Key("below"))
		out.MinRequests = c.integer(r.MinRequests, 1, most, 0, at.Key("minRequests"))
		out.Window = c.duration(r.Window, time.Second, time.Hour, at.Key("window"))
	}
	if p := e.Penalty; p != nil {
		at := f.Key("penalty")
		out.Base = c.duration(p.Base, time.Millisecond, maxDuration, at.Key("base"))
		out.Max = c.duration(p.Max, time.Millisecond, maxDuration, at.Key("max"))
		c.penalty(out, at)
	}
	none := out.Consecutive5xx+out.ConsecutiveGateway+out.ConsecutiveLocal == 0 && e.SuccessRate == nil
	switch {
	case none && e.Consecutive5xx == nil && e.ConsecutiveGatewayErrors == nil && e.ConsecutiveLocalErrors == nil:
		out.Consecutive5xx = defaultConsecutive
	case none && !c.problems.Failed():
		c.add(f, "looks at nothing: all its counts are 0", "give one of consecutive5xx, consecutiveGatewayErrors, consecutiveLocalErrors and successRate")
	}
	return out
}

// Defaults of ejection.penalty.
const (
	defaultPenalty    = time.Second
	defaultMaxPenalty = time.Minute
)

// penalty makes one end follow the other when it alone is written and passes the other's default.
func (c *checker) penalty(out *model.Ejection, f *document.Field) {
	switch {
	case out.Base > 0 && out.Max > 0 && out.Max < out.Base:
		c.add(f.Key("max"), fmt.Sprintf("is %s, shorter than base, which is %s", short(out.Max), short(out.Base)), "write at least as much as base")
	case out.Max == 0 && out.Base > defaultMaxPenalty:
		out.Max = out.Base
	case out.Base == 0 && out.Max > 0 && out.Max < defaultPenalty:
		out.Base = out.Max
	}
}

// Defaults of health checks.
const (
	defaultCheckInterval = 10 * time.Second
	defaultCheckTimeout  = time.Second
)

func (c *checker) healthCheck(h *healthCheck, f *document.Field) *model.HealthCheck {
	c.one(f, "http", "grpc", "tcp", "udp")
	out := &model.HealthCheck{
		Interval:  c.duration(h.Interval, 100*time.Millisecond, time.Hour, f.Key("interval")),
		Timeout:   c.duration(h.Timeout, time.Millisecond, time.Hour, f.Key("timeout")),
		Healthy:   c.integer(h.Healthy, 1, 100, 0, f.Key("healthy")),
		Unhealthy: c.integer(h.Unhealthy, 1, 100, 0, f.Key("unhealthy")),
	}
	interval := out.Interval
	if interval == 0 {
		interval = defaultCheckInterval
	}
	switch {
	case out.Timeout > interval:
		c.add(f.Key("timeout"), fmt.Sprintf("is %s, longer than interval, which is %s", short(out.Timeout), short(interval)), "write at most as much as interval")
	case out.Timeout == 0 && interval < defaultCheckTimeout:
		out.Timeout = interval
	}
	switch {
	case c.doc.Has(f.Key("http")):
		out.Type = model.HealthHTTP
		if h.HTTP != nil {
			c.httpCheck(h.HTTP, out, f.Key("http"))
		}
	case c.doc.Has(f.Key("grpc")):
		out.Type = model.HealthGRPC
		if h.GRPC != nil {
			c.grpcCheck(h.GRPC, out, f.Key("grpc").Key("service"))
		}
	case c.doc.Has(f.Key("udp")):
		out.Type = model.HealthUDP
		if h.UDP != nil {
			out.Send = c.hexText(h.UDP.Send, f.Key("udp").Key("send"))
			out.Receive = c.hexText(h.UDP.Receive, f.Key("udp").Key("receive"))
		}
	default:
		out.Type = model.HealthTCP
	}
	return out
}

// maxCheckBytes bounds what a check by datagrams sends and looks for: what fits into one that is not taken apart.
const maxCheckBytes = 1024

// hexText reads bytes written as hexadecimal digits; spaces may stand between them.
func (c *checker) hexText(s string, f *document.Field) []byte {
	out, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	switch {
	case err != nil:
		c.add(f, fmt.Sprintf("%q is not written in hexadecimal digits", clip(s)), `write two for each byte, for example "70 69 6e 67" for "ping"`)
	case len(out) > maxCheckBytes:
		c.add(f, fmt.Sprintf("has %d bytes, at most %d are allowed", len(out), maxCheckBytes), "")
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (c *checker) grpcCheck(g *grpcCheck, out *model.HealthCheck, f *document.Field) {
	out.Service = g.Service
	bad := strings.ContainsFunc(g.Service, func(r rune) bool {
		return r > '~' || !isAlnum(byte(r)) && r != '.' && r != '_' && r != '-' && r != '/'
	})
	if bad || len(g.Service) > 1024 {
		c.add(f, fmt.Sprintf("%q is no valid name of a gRPC service", clip(g.Service)), "wants at most 1024 letters, digits and . _ - /")
	}
}

func (c *checker) httpCheck(h *httpCheck, out *model.HealthCheck, f *document.Field) {
	out.Path, out.Host = h.Path, h.Host
	if h.Path != "" {
		at := f.Key("path")
		path, _, _ := strings.Cut(h.Path, "?")
		switch {
		case len(h.Path) > 1024:
			c.add(at, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(h.Path)), "")
		case strings.ContainsFunc(h.Path, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }):
			c.add(at, fmt.Sprintf("%q has a character that no path has", clip(h.Path)), "percent-encode it")
		default:
			c.absolutePath(path, at)
		}
	}
	if h.Host != "" {
		c.host(h.Host, f.Key("host"))
	}
	at := f.Key("statuses")
	c.atMost(len(h.Statuses), maxItems, "statuses", at)
	for i := range h.Statuses {
		out.Codes = append(out.Codes, c.codeRange(h.Statuses[i], at.Index(i)))
	}
}

// host wants a name or IP address, with or without a port.
func (c *checker) host(s string, f *document.Field) {
	name := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			c.add(f, fmt.Sprintf("%q has no valid port", clip(s)), "wants a port 1 to 65535")
			return
		}
		name = h
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return
	}
	if why := document.CheckSubdomain(strings.ToLower(name)); why != "" {
		c.add(f, fmt.Sprintf("%q is no valid host name", clip(s)), why)
	}
}

// codeRange reads 204 or "200-299".
func (c *checker) codeRange(s code, f *document.Field) model.CodeRange {
	var from, to string
	switch v := s.v.(type) {
	case json.Number:
		from, to = v.String(), v.String()
	case string:
		var ok bool
		if from, to, ok = strings.Cut(v, "-"); !ok {
			to = from
		}
	}
	a, err := strconv.Atoi(strings.TrimSpace(from))
	b, err2 := strconv.Atoi(strings.TrimSpace(to))
	switch {
	case err != nil || err2 != nil || a < 100 || b > 599:
		c.add(f, "wants a status or a range of statuses 100 to 599, has "+s.words(), `for example 204 or "200-299"`)
	case b < a:
		c.add(f, fmt.Sprintf("the range %s ends before it begins", s.words()), fmt.Sprintf(`write "%d-%d"`, b, a))
	}
	return model.CodeRange{From: a, To: b}
}
