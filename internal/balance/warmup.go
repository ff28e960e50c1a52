package balance

import (
	"cmp"
	"math"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// coldest is the part of its weight that a new endpoint begins with where nothing else is said.
const coldest = 0.1

// leastTurn is the part of its weight by which the turns of an endpoint that warms up are reckoned at least: with less, its
// next turn would be so far off that it would still wait for it when it is warm.
const leastTurn = 0.01

// ramp is how the part of its weight that an endpoint has rises while it warms up.
type ramp struct {
	over     time.Duration // 0: endpoints are warm at once
	from     float64       // 0 to 1
	exponent float64       // of the part of the time that is over; 1: a straight line
}

func rampOf(b *model.Balance) ramp {
	r := ramp{over: b.WarmUp, from: coldest, exponent: 1 / cmp.Or(b.WarmUpAggression, 1)}
	if b.WarmUpFrom != nil {
		r.from = *b.WarmUpFrom
	}
	return r
}

// at is the part of its weight that an endpoint of some age has: it rises to 1 over the time given, as that time to the
// power of 1/aggression (Envoy, slow start).
func (r ramp) at(age time.Duration) float64 {
	switch {
	case r.over <= 0 || age >= r.over:
		return 1
	case age <= 0:
		return r.from
	}
	part := float64(age) / float64(r.over)
	if r.exponent != 1 {
		part = math.Pow(part, r.exponent)
	}
	return r.from + (1-r.from)*part
}
