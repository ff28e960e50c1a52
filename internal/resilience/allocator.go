package resilience

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// MaxProxies is how many proxies share one global limit. More are told to keep to a share of their own.
const MaxProxies = 16_384

// fewTenants is how many are looked at whenever one comes.
const fewTenants = 64

// silence is after how many Periods without a word a proxy is forgotten.
const silence = 50

// Allocator is a global limit on the control plane; see Tenant for the bound. Its tokens are in the bucket, or granted;
// both together are at most the Capacity. One control plane decides about a limit at a time. The next one begins
// without tokens, so that the bound holds over the change.
type Allocator struct {
	period   time.Duration
	rate     float64 // per Period
	capacity float64

	bucket  float64 // negative: more was admitted than granted
	granted float64 // to all tenants, not known to be used
	at      time.Time
	tenants map[string]*tenant
	born    time.Time
	heir    bool // another Allocator has leased out tokens of the limit before

	lost      float64   // what the rate gave while nobody could ask, over the capacity
	lostUntil time.Time // for proxies to report what they used of it

	told   float64   // sum of the tenants' shares
	shared time.Time // when level and extra were found
	level  float64   // of tokens for a Period: nobody is given more of what is short
	extra  float64   // that everyone is given beyond what it wants
	worth  float64   // of all that is given in a Period
}

// tenant is what is known of one proxy.
type tenant struct {
	used, wanted uint64
	granted      float64
	until        time.Time
	lapsed       float64 // granted, and not renewed in time: held to be used until it says otherwise
	asked        time.Time
	want         float64 // requests in a Period
	told         float64 // its share when it is without a lease
}

// NewAllocator begins with a full bucket; with an empty one when it takes over from another Allocator, as soon as a
// proxy says that it had a lease.
func NewAllocator(m model.RateLimit, now time.Time) *Allocator {
	a := &Allocator{period: Period(&m), rate: perPeriod(&m), capacity: Capacity(&m), at: now, born: now, tenants: map[string]*tenant{}}
	a.bucket = a.capacity
	return a
}

// Ask settles what a proxy has used and grants it what it may use next: its fair share (max-min fairness) of what
// the rate gives in a Period, by what all proxies were asked for lately.
func (a *Allocator) Ask(q Ask, now time.Time) Quota {
	a.fill(now)
	t := a.tenants[q.Proxy]
	if t == nil {
		if len(a.tenants) >= MaxProxies {
			return Quota{For: leasePeriods * a.period, Share: 1.0 / MaxProxies, Short: true}
		}
		// What it did before is not known to have been granted here: a control plane that begins anew must not
		// charge for all of the past.
		t = &tenant{used: q.Used, wanted: q.Wanted}
		if q.First {
			a.bucket -= float64(q.Used)
		} else {
			a.succeed(now)
		}
		a.tenants[q.Proxy] = t
		t.want = 1
		if len(a.tenants) <= fewTenants {
			a.shared = time.Time{} // at once
		}
	} else {
		a.settle(t, q, now)
	}
	late := 1.0
	if !t.asked.IsZero() {
		late = min(max(float64(now.Sub(t.asked))/float64(a.period), 1), leasePeriods)
	}
	t.asked = now
	if now.Sub(a.shared) >= a.period/8 || now.Before(a.shared) {
		a.share(now)
	}
	fair := min(t.ask(), a.level) + a.extra
	amount := min(fair*late, a.bucket)
	if amount < 1 && t.want > 0 && a.bucket >= 1 {
		amount = 1 // or nobody would ever have the one there is
	}
	whole := float64(uint64(max(amount, 0)))
	a.bucket -= whole
	a.granted += whole
	t.granted, t.until = whole, now.Add(leasePeriods*a.period)
	return Quota{
		Amount: uint64(whole), For: leasePeriods * a.period, Short: whole < t.want,
		Share: a.tell(t, fair),
	}
}

// succeed empties the bucket of an Allocator that has just begun, when a proxy has had leases from another one: the
// Capacity is out already. Later a lease of which nothing is known is one that was forgotten here.
func (a *Allocator) succeed(now time.Time) {
	if !a.heir && now.Sub(a.born) < silence*a.period {
		a.heir, a.bucket = true, min(a.bucket, 0)
	}
}

// tell finds the share for a proxy without a lease. All shares together are never more than 1.
func (a *Allocator) tell(t *tenant, fair float64) float64 {
	a.told -= t.told
	want := max(fair/max(a.worth, 1e-9), 0.1/float64(len(a.tenants)))
	t.told = max(0, min(want, 1-a.told))
	a.told += t.told
	return t.told
}

// ask is what a proxy is given if there is enough: what it wants, and two standard deviations of so many random
// arrivals. What it does not need comes back.
func (t *tenant) ask() float64 {
	if t.want == 0 {
		return 0
	}
	return t.want + 2*math.Sqrt(t.want) + 1
}

// fill lets time pass. What is out counts for the capacity.
func (a *Allocator) fill(now time.Time) {
	d := now.Sub(a.at)
	if d > 0 {
		a.bucket += a.rate * float64(d) / float64(a.period)
		a.at = now
	}
	if d > leasePeriods*a.period { // leases have ended: proxies went on with their shares
		a.lost, a.lostUntil = max(0, a.bucket-a.capacity), now.Add(2*idlePeriods*a.period)
	} else if now.After(a.lostUntil) {
		a.lost = 0
	}
	a.bucket = min(a.bucket, a.capacity-a.granted)
}

// settle charges a proxy for what it has used, and takes back what it has not.
func (a *Allocator) settle(t *tenant, q Ask, now time.Time) {
	used, wanted := q.Used-t.used, q.Wanted-t.wanted
	if q.Used < t.used || q.Wanted < t.wanted { // it has begun anew
		used, wanted = q.Used, q.Wanted
	}
	t.used, t.wanted = q.Used, q.Wanted
	a.granted -= t.granted
	a.bucket += t.granted + t.lapsed - float64(used)
	if over := min(float64(used)-t.granted-t.lapsed, a.lost); over > 0 {
		a.bucket += over
		a.lost -= over
	}
	a.bucket = min(a.bucket, a.capacity-a.granted)
	t.granted, t.lapsed = 0, 0

	took := max(now.Sub(t.asked), a.period/4)
	want := float64(wanted) * float64(a.period) / float64(took)
	t.want = max(want, (t.want+want)/2)
	if wanted == 0 && t.want < 0.5 {
		t.want = 0
	}
}

// share finds how much a proxy may be given. It looks at all of them, at most eight times in a Period.
func (a *Allocator) share(now time.Time) {
	a.shared = now
	wants := make([]float64, 0, len(a.tenants))
	sum := 0.0
	for name, t := range a.tenants {
		switch {
		case now.Sub(t.asked) > silence*a.period && !t.asked.IsZero():
			a.lapse(t)
			a.told -= t.told
			delete(a.tenants, name)
			continue
		case now.After(t.until) && t.granted > 0:
			a.lapse(t)
		}
		if now.Sub(t.asked) > leasePeriods*a.period && !t.asked.Equal(now) && !t.asked.IsZero() {
			t.want = 0 // it is idle, or gone
		}
		wants = append(wants, t.ask())
		sum += t.ask()
	}
	a.worth = max(a.rate, a.bucket)
	if sum <= a.worth {
		a.level, a.extra = a.worth, (a.worth-sum)/float64(max(1, len(wants)))
		return
	}
	a.level, a.extra = waterLevel(wants, a.worth), 0
}

// lapse holds what was granted and not renewed to be used.
func (a *Allocator) lapse(t *tenant) {
	a.granted -= t.granted
	t.granted, t.lapsed = 0, t.lapsed+t.granted
}

// waterLevel is the level at which wants, each cut at it, add up to worth; together they are more. It sorts wants.
func waterLevel(wants []float64, worth float64) float64 {
	slices.Sort(wants)
	for i, w := range wants {
		level := worth / float64(len(wants)-i)
		if w >= level {
			return level
		}
		worth -= w
	}
	return worth
}

// Explain is one line about the limit.
func (a *Allocator) Explain(now time.Time) string {
	a.fill(now)
	return fmt.Sprintf("%.4g requests per %s among %d proxies; %.0f granted, %.0f left of %.0f",
		a.rate, a.period, len(a.tenants), a.granted, a.bucket, a.capacity)
}
