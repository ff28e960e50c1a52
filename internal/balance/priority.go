package balance

// defaultCapacity is how much more than the need endpoints are taken to be worth: below 71% healthy a priority
// spills.
const defaultCapacity = 1.4

// Level is one priority: how many of its endpoints are healthy, and what follows.
type Level struct {
	Healthy, Total int

	Load  float64 // share of the requests, 0 to 1
	Panic bool    // too few are healthy everywhere: requests go to all of its endpoints
}

// Spill sets the load of each priority, the nearest first, as Envoy documents it ("Priority levels", "Panic
// threshold"; degraded hosts do not exist here): a level is worth capacity (0: 1.4) times its healthy share, at
// most 1, and takes so much of what the levels before it left. When all levels together are worth less than 1,
// their worth is scaled up, and those whose healthy share is below threshold panic. When none is worth anything,
// the first level that has endpoints takes all. Shares are not rounded to percents. It returns what all levels
// together are worth, at most 1.
func Spill(levels []Level, capacity, threshold float64) float64 {
	if capacity <= 0 {
		capacity = defaultCapacity
	}
	total := 0.0
	for i := range levels {
		total += levels[i].worth(capacity)
	}
	health := min(1, total)
	if total == 0 {
		first := true
		for i := range levels {
			l := &levels[i]
			l.Load, l.Panic = 0, l.Total > 0 && threshold > 0
			if first && l.Total > 0 {
				l.Load, first = 1, false
			}
		}
		return 0
	}
	left := 1.0
	for i := range levels {
		l := &levels[i]
		l.Load = min(left, l.worth(capacity)/health)
		left -= l.Load
		l.Panic = health < 1 && l.Total > 0 && float64(l.Healthy) < threshold*float64(l.Total)
	}
	return health
}

func (l *Level) worth(capacity float64) float64 {
	if l.Total == 0 {
		return 0
	}
	return min(1, capacity*float64(l.Healthy)/float64(l.Total))
}

// Distribute sets the load of each locality to its share, less what its endpoints that are not healthy cannot
// take (capacity as in Spill), scaled so that all add up to 1. Below the threshold of healthy endpoints in all,
// every level panics and has its plain share. It returns what all together are worth.
func Distribute(levels []Level, shares []float64, capacity, threshold float64) float64 {
	if capacity <= 0 {
		capacity = defaultCapacity
	}
	healthy, endpoints, sum, plain := 0, 0, 0.0, 0.0
	for i := range levels {
		healthy, endpoints = healthy+levels[i].Healthy, endpoints+levels[i].Total
		sum += shares[i] * levels[i].worth(capacity)
		if levels[i].Total > 0 {
			plain += shares[i]
		}
	}
	panicking := threshold > 0 && float64(healthy) < threshold*float64(endpoints)
	for i := range levels {
		l := &levels[i]
		l.Panic, l.Load = panicking, 0
		switch {
		case l.Total == 0:
		case (panicking || sum == 0) && plain > 0:
			l.Load = shares[i] / plain
		case sum > 0:
			l.Load = shares[i] * l.worth(capacity) / sum
		}
	}
	if plain == 0 {
		return 0
	}
	return min(1, sum/plain)
}
