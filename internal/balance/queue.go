package balance

import "strings"

// queue is a binary heap of turns: the one that is due first is queue[0]. Of turns due at once the lower who comes
// first, so that the order is the same every time.
type queue []turn

type turn struct {
	due float64
	who int32
}

func (q queue) less(a, b int) bool {
	return q[a].due < q[b].due || q[a].due == q[b].due && q[a].who < q[b].who
}

func (q queue) init() {
	for i := len(q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

// fix restores the order after the first turn was put off.
func (q queue) fix() { q.down(0) }

func (q queue) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(q) {
			return
		}
		if c+1 < len(q) && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

func compareStrings(a, b string) int { return strings.Compare(a, b) }
