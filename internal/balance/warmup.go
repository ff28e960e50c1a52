package balance

import "time"

// coldest is the part of its weight that a new endpoint begins with.
const coldest = 0.1

// WarmUp is the part of its weight that an endpoint of some age has: it rises from 10% to 100% in a straight
// line over the time given. Without such a time it is 1.
func WarmUp(age, over time.Duration) float64 {
	switch {
	case over <= 0 || age >= over:
		return 1
	case age <= 0:
		return coldest
	}
	return coldest + (1-coldest)*float64(age)/float64(over)
}
