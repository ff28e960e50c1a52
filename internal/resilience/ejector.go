package resilience

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	defaultEjectBase   = time.Second
	defaultEjectMax    = time.Minute
	defaultMaxShare    = 0.5
	defaultMinRequests = 5
	probePatience      = 10 * time.Second // for a probe that never ends
	ejectJitter        = 0.5              // of the penalty, at most
)

// Ejector takes the endpoints of a service that fail out of the choice for a while (Envoy's outlier detection), and
// lets one request decide about their return (Linkerd's failure accrual): when the penalty is over, one probe is
// admitted; if it succeeds the endpoint is back, else it is ejected for twice as long. A penalty is jittered by
// 0 to 50%, so that proxies do not come back together. Each time an endpoint stays well for as long as its last
// penalty, the next one halves again.
//
// For every choice ask Admits; for the endpoint that was chosen call Begin, and then exactly one of Observe and
// Abandon with what Begin said. Indexes are of the endpoints at the time of the call; one that is out of range, as of
// an endpoint that has left meanwhile (-1), is admitted, and its end says nothing.
type Ejector struct {
	p         model.Ejection
	endpoints []health
	out       int // ejected or on probation
	down      int // out for other reasons
}

// health is the record of one endpoint.
type health struct {
	id                   string
	in5xx, gateway, conn int // consecutive
	window               window

	ejected bool
	until   time.Time // of the penalty
	probe   time.Time // a probe runs until then at most; zero: none
	penalty time.Duration
	level   int       // doublings of the next penalty
	since   time.Time // when it came back
	reason  Reason
	seen    float64 // what the reason saw: failures in a row, or a rate
}

// Reason is why an endpoint was ejected.
type Reason uint8

const (
	NotEjected Reason = iota
	ByServerErrors
	ByGatewayErrors
	ByLocalErrors
	BySuccessRate
	ByProbe
)

// NewEjector compiles a policy for endpoints, named by their IDs; nil for nil. A nil Ejector admits everything.
func NewEjector(m *model.Ejection, ids []string) *Ejector {
	if m == nil {
		return nil
	}
	p := *m
	p.Base = cmp.Or(p.Base, defaultEjectBase)
	p.Max = max(p.Base, cmp.Or(p.Max, defaultEjectMax))
	p.MaxShare = cmp.Or(p.MaxShare, defaultMaxShare)
	p.MinRequests = cmp.Or(p.MinRequests, defaultMinRequests)
	p.Window = cmp.Or(p.Window, defaultWindow)
	e := &Ejector{p: p}
	e.SetEndpoints(ids)
	return e
}

// SetEndpoints replaces the endpoints: indexes are of ids from now on. Those that were there keep their record.
func (e *Ejector) SetEndpoints(ids []string) {
	if e == nil {
		return
	}
	old := make(map[string]*health, len(e.endpoints))
	for i := range e.endpoints {
		old[e.endpoints[i].id] = &e.endpoints[i]
	}
	all := make([]health, len(ids))
	e.out = 0
	for i, id := range ids {
		if h := old[id]; h != nil {
			all[i] = *h
		} else {
			all[i] = health{id: id, window: newWindow(e.p.Window)}
		}
		if all[i].ejected {
			e.out++
		}
	}
	e.endpoints = all
}

// SetDown says how many endpoints that are not ejected are out for other reasons, as health checks: they count for
// MinHealthy.
func (e *Ejector) SetDown(n int) {
	if e != nil {
		e.down = n
	}
}

// Admits reports whether endpoint i may be chosen: it is not ejected, or its penalty is over and no probe runs, or so
// few are healthy that ejection is suspended.
func (e *Ejector) Admits(i int, now time.Time) bool {
	h := e.of(i)
	if h == nil || !h.ejected || e.suspended() {
		return true
	}
	return !now.Before(h.until) && (h.probe.IsZero() || !now.Before(h.probe))
}

// of is the record of endpoint i; nil when there is none.
func (e *Ejector) of(i int) *health {
	if e == nil || uint(i) >= uint(len(e.endpoints)) {
		return nil
	}
	return &e.endpoints[i]
}

// Begin tells that a request goes to endpoint i. It reports whether this is the probe on which its return depends.
func (e *Ejector) Begin(i int, now time.Time) (probe bool) {
	h := e.of(i)
	if h == nil || !h.ejected || now.Before(h.until) {
		return false
	}
	h.probe = now.Add(max(e.p.Base, probePatience))
	return true
}

// Abandon tells that a request to endpoint i ended without saying anything about it: the client left. A probe can
// then be another request.
func (e *Ejector) Abandon(i int, probe bool) {
	if h := e.of(i); h != nil && probe {
		h.probe = time.Time{}
	}
}

// Observe takes the end of a request to endpoint i and reports whether it ejects it. random is one random word.
// Late answers of requests that began before an endpoint was ejected neither return it nor count.
func (e *Ejector) Observe(i int, o Outcome, now time.Time, random uint64) (ejected bool) {
	h := e.of(i)
	if h == nil {
		return false
	}
	if h.ejected {
		return e.observeProbe(h, o, now, random)
	}
	bad, gateway := e.errs(o)
	counts := h.window.at(now)
	counts.a++
	if !bad {
		counts.b++
	}
	h.in5xx = inARow(h.in5xx, bad)
	h.gateway = inARow(h.gateway, gateway)
	h.conn = inARow(h.conn, o.Failure == Connect || o.Failure == Reset)
	reason, seen := e.judge(h)
	if reason == NotEjected || !e.mayEject() {
		return false
	}
	if h.penalty > 0 { // good conduct
		h.level = max(0, h.level-int(now.Sub(h.since)/h.penalty))
	}
	e.eject(h, reason, seen, now, random)
	e.out++
	return true
}

// errs reports whether an outcome is an error of the endpoint's, and one as gateways have them. Where the policy names
// statuses of its own, an answer with one of these is both, and no other is (Istio, outlierDetectionHttpErrorCodes).
func (e *Ejector) errs(o Outcome) (bad, gateway bool) {
	status := o.effective()
	if len(e.p.Statuses) > 0 && o.Failure == Answered {
		bad = slices.Contains(e.p.Statuses, status)
		return bad, bad
	}
	return status >= 500, status >= 502 && status <= 504
}

func inARow(n int, bad bool) int {
	if bad {
		return n + 1
	}
	return 0
}

// judge finds a reason to eject.
func (e *Ejector) judge(h *health) (Reason, float64) {
	switch {
	case e.p.Consecutive5xx > 0 && h.in5xx >= e.p.Consecutive5xx:
		return ByServerErrors, float64(h.in5xx)
	case e.p.ConsecutiveGateway > 0 && h.gateway >= e.p.ConsecutiveGateway:
		return ByGatewayErrors, float64(h.gateway)
	case e.p.ConsecutiveLocal > 0 && h.conn >= e.p.ConsecutiveLocal:
		return ByLocalErrors, float64(h.conn)
	}
	if e.p.SuccessRate > 0 {
		all, good := h.window.sum()
		if rate := float64(good) / float64(max(1, all)); all >= uint64(e.p.MinRequests) && rate < e.p.SuccessRate {
			return BySuccessRate, rate
		}
	}
	return NotEjected, 0
}

// mayEject reports whether one more may go: one always, else up to MaxShare; nobody while fewer are healthy
// than MinHealthy.
func (e *Ejector) mayEject() bool {
	if e.suspended() {
		return false
	}
	return e.out == 0 || float64(e.out+1) <= e.p.MaxShare*float64(len(e.endpoints))+rounding
}

// suspended reports whether too few are healthy for anyone to be ejected.
func (e *Ejector) suspended() bool {
	n := len(e.endpoints)
	return e.p.MinHealthy > 0 && float64(n-e.out-e.down) < e.p.MinHealthy*float64(n)
}

// observeProbe decides about the return of an endpoint.
func (e *Ejector) observeProbe(h *health, o Outcome, now time.Time, random uint64) bool {
	if !o.Probe || h.probe.IsZero() {
		return false // began before the ejection, or while it was suspended, or another probe has decided
	}
	h.probe = time.Time{}
	if bad, _ := e.errs(o); bad {
		e.eject(h, ByProbe, 1, now, random)
		return true
	}
	h.ejected, h.since = false, now
	h.in5xx, h.gateway, h.conn = 0, 0, 0
	h.window.reset()
	e.out--
	return false
}

func (e *Ejector) eject(h *health, reason Reason, seen float64, now time.Time, random uint64) {
	penalty := e.p.Base
	for n := 0; n < h.level && penalty < e.p.Max; n++ {
		penalty *= 2
	}
	h.penalty = min(penalty, e.p.Max)
	if penalty < e.p.Max { // else good conduct would first have to make up for levels that changed nothing
		h.level++
	}
	h.ejected, h.reason, h.seen = true, reason, seen
	h.until = now.Add(h.penalty + time.Duration(ejectJitter*unit(random)*float64(h.penalty)))
	h.probe = time.Time{}
}

// unit maps a random word to [0, 1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// Ejected is an endpoint that is out.
type Ejected struct {
	ID      string
	Until   time.Time // of the penalty; then a probe decides
	Probing bool      // which runs
	Penalty time.Duration
	Reason  Reason
	Why     string // one line
}

// Explain lists who is ejected now, until when and why, in the order of the endpoints. It allocates.
func (e *Ejector) Explain(now time.Time) []Ejected {
	if e == nil {
		return nil
	}
	var out []Ejected
	for i := range e.endpoints {
		h := &e.endpoints[i]
		if !h.ejected {
			continue
		}
		x := Ejected{ID: h.id, Until: h.until, Penalty: h.penalty, Reason: h.reason, Probing: !h.probe.IsZero() && now.Before(h.probe)}
		x.Why = h.why(&e.p)
		switch {
		case e.suspended():
			x.Why += "; not applied while fewer than minHealthy are healthy"
		case x.Probing:
			x.Why += "; a probe is on its way"
		case !now.Before(h.until):
			x.Why += "; the next request is its probe"
		default:
			x.Why += fmt.Sprintf("; a probe follows in %s", h.until.Sub(now).Round(time.Millisecond))
		}
		out = append(out, x)
	}
	return out
}

// named are the statuses that count: the policy's own, or the usual ones.
func named(p *model.Ejection, usual string) string {
	if len(p.Statuses) == 0 {
		return usual
	}
	return "of " + strings.Trim(fmt.Sprint(p.Statuses), "[]")
}

func (h *health) why(p *model.Ejection) string {
	switch h.reason {
	case ByServerErrors:
		return fmt.Sprintf("%.0f failures or answers %s in a row", h.seen, named(p, "5xx"))
	case ByGatewayErrors:
		return fmt.Sprintf("%.0f failures or answers %s in a row", h.seen, named(p, "502, 503 or 504"))
	case ByLocalErrors:
		return fmt.Sprintf("%.0f failures to connect, or resets, in a row", h.seen)
	case BySuccessRate:
		return fmt.Sprintf("success rate %.1f%%, below %.4g%%, over %s", 100*h.seen, 100*p.SuccessRate, p.Window)
	case ByProbe:
		return "its probe failed"
	}
	return "not ejected"
}
