package resilience

import (
	"cmp"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// A global rate limit is one token bucket on the control plane (Allocator), from which proxies (Tenants) lease tokens
// ahead of their requests: each Period a proxy says what it has used and what it was asked for, and is granted
// what it may use until then. What it does not use goes back.
//
// The bound: in any time T all proxies together admit at most rate*T + Capacity + what the rate gives in one Period.
// Capacity is the larger of Burst and twice what the rate gives in a Period; the last term is for proxies whose
// lease ended without a new one: each goes on with its share, and all shares together are at most 1. So the bound
// holds while proxies reach the control plane, and while none does. If some do and some do not, those that do not
// come on top with their shares until they are back; then it is taken off later grants. The bound holds too when
// another control plane takes over: its Allocator begins without tokens if any proxy has had a lease. While two of them
// grant at once, each gives the rate. With enough demand the average is Requests/Per. A Tenant that has never had a
// lease keeps to its part of the limit by itself (Alone): all of it when it has never heard from the control plane.
//
// A limit with a key has an Allocator and Tenants for each value of it (Ledger, Leases).

const (
	minPeriod = 100 * time.Millisecond
	maxPeriod = 10 * time.Second
)

// Ask is what a proxy says. Both numbers count from when the Tenant began, so that a lost message loses nothing; when
// they go down it has begun anew.
type Ask struct {
	Proxy  string
	Key    string // of a limit with keys
	Used   uint64 // requests admitted
	Wanted uint64 // requests that came
	First  bool   // the Tenant has had no answer yet: all that it used was on its own
}

// Quota is the answer to an Ask.
type Quota struct {
	Amount uint64        // requests that may be admitted, in place of what was granted before
	For    time.Duration // how long, from when the Ask was sent
	Share  float64       // of the limit: how much of it to use when For is over and no new Quota is here; 0 to 1
	Short  bool          // less than was wanted: asking again before the Period is over brings nothing
	Alone  float64       // part of the limit for a key that the proxy has no lease for; 0: not said
}

// Period is how often a proxy asks about a limit: a tenth of Per, 100 ms to 10 s.
func Period(m *model.RateLimit) time.Duration { return min(max(m.Per/10, minPeriod), maxPeriod) }

// Capacity is by how many requests a global limit may be exceeded in any time, when every lease is renewed.
func Capacity(m *model.RateLimit) float64 {
	return max(float64(cmp.Or(m.Burst, m.Requests)), 2*perPeriod(m))
}

// Excess is by how many requests more than its rate gives a global limit may be exceeded in any time; see above.
func Excess(m *model.RateLimit) float64 { return Capacity(m) + perPeriod(m) }

// perPeriod is how many requests the rate gives in a Period.
func perPeriod(m *model.RateLimit) float64 {
	return float64(m.Requests) * float64(Period(m)) / float64(max(m.Per, 1))
}

// leasePeriods is how many Periods a lease holds: one more than it takes to renew it.
const leasePeriods = 2

// idlePeriods is after how many Periods a proxy without requests asks: its share falls to others.
const idlePeriods = 10

// Tenant is a global limit at a proxy. It belongs to one event loop, or is asked by all of them under a lock.
// For each request call Take; when Due, send Ask to the control plane, and give its answer to Grant.
type Tenant struct {
	name         string
	m            model.RateLimit
	period       time.Duration
	used, wanted uint64

	tokens  int64
	until   time.Time // of the lease
	asked   time.Time // zero: never
	waiting bool      // for an answer
	before  uint64    // used when it last asked
	came    uint64    // wanted when it last asked
	leased  bool      // there has been a lease
	short   bool

	own     Bucket // without a lease
	ownRate Rate
	epoch   time.Time
}

// NewTenant returns a proxy's side of a limit; name is the proxy's, unique in the mesh.
func NewTenant(m model.RateLimit, name string) *Tenant {
	return &Tenant{name: name, m: m, period: Period(&m), ownRate: NewRate(m.Requests, m.Per, m.Burst)}
}

// Status is that of the answer to a request that is not allowed.
func (t *Tenant) Status() int { return cmp.Or(t.m.Status, defaultLimitStatus) }

// Take asks for one request. A request that is not allowed may be tried again after the Period.
func (t *Tenant) Take(now time.Time) Decision {
	t.wanted++
	if t.leased && now.Before(t.until) {
		if t.tokens <= 0 {
			return Decision{RetryAfter: max(t.asked.Add(t.period).Sub(now), time.Millisecond)}
		}
		t.tokens--
		t.used++
		return Decision{Allowed: true, Remaining: uint32(min(t.tokens, 1<<32-1))}
	}
	if t.epoch.IsZero() {
		t.epoch = now
	}
	d := t.own.Take(t.ownRate, int64(now.Sub(t.epoch)))
	d.Expired = true
	if d.Allowed {
		t.used++
	}
	return d
}

// Due reports whether it is time to ask: at first, then each Period in which requests come, else each tenth; and
// sooner when the tokens are spent and more can be had. An answer that does not come is waited for no longer than a Period.
func (t *Tenant) Due(now time.Time) bool {
	if t.asked.IsZero() {
		return true
	}
	since := now.Sub(t.asked)
	if t.waiting && since < t.period || t.wanted == t.came && since < idlePeriods*t.period {
		return false
	}
	return since >= t.period || t.tokens <= 0 && !t.short && since >= t.period/4
}

// Ask is what to send.
func (t *Tenant) Ask(now time.Time) Ask {
	t.asked, t.waiting, t.before, t.came = now, true, t.used, t.wanted
	return Ask{Proxy: t.name, Used: t.used, Wanted: t.wanted, First: !t.leased}
}

// Grant takes the answer to the last Ask. What was admitted meanwhile is taken off.
func (t *Tenant) Grant(q Quota) {
	if !t.waiting {
		return // nothing was asked
	}
	t.waiting, t.leased, t.short = false, true, q.Short
	t.tokens = int64(min(q.Amount, 1<<62)) - int64(t.used-t.before)
	t.until = t.asked.Add(q.For)
	t.keepTo(q.Share)
}

// keepTo sets the part of the limit that is used without a lease, evenly: the bursts of many proxies at once would
// add up.
func (t *Tenant) keepTo(share float64) {
	if t.m.Requests == 0 {
		return // nothing is allowed
	}
	share = min(max(share, 1e-6), 1)
	interval := max(1, int64(float64(t.m.Per)/(float64(t.m.Requests)*share)))
	t.ownRate = Rate{interval: interval, burst: max(interval, int64(t.period))}
}
