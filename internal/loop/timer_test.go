//go:build linux

package loop

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimersProperty drives the wheel and a plain list of deadlines side by side.
func TestTimersProperty(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := &Loop{}
		l.wheel.init()
		l.now = l.wheel.start
		timers := make([]Timer, 300)
		due := map[int]time.Time{} // the model: who is armed, and until when it must not fire
		arm := func(i int) {
			d := time.Duration(r.Int64N(int64(60 * time.Second)))
			if r.IntN(3) == 0 {
				d = time.Duration(r.Int64N(int64(100 * time.Millisecond)))
			}
			due[i] = l.now.Add(d)
			l.AfterFunc(&timers[i], d, func() {
				at, armed := due[i]
				if !armed || l.now.Before(at) {
					t.Fatalf("seed %d: timer %d fired at %v, armed %v for %v", seed, i, l.now, armed, at)
				}
				delete(due, i)
				if r.IntN(4) == 0 { // callbacks arm and stop others
					j := r.IntN(len(timers))
					timers[j].Stop()
					delete(due, j)
				}
			})
		}
		for range 3000 {
			switch i := r.IntN(len(timers)); r.IntN(4) {
			case 0, 1:
				arm(i)
			case 2:
				timers[i].Stop()
				delete(due, i)
			default:
				step := time.Duration(r.Int64N(int64(200 * time.Millisecond)))
				if r.IntN(50) == 0 {
					step = time.Duration(r.Int64N(int64(40 * time.Second))) // a long pause
				}
				l.now = l.now.Add(step)
				l.wheel.advance(l.now)
				for i, at := range due {
					if l.now.Sub(at) > Tick {
						t.Fatalf("seed %d: timer %d is %v late", seed, i, l.now.Sub(at))
					}
				}
			}
			check(t, l, timers, due)
		}
	}
}

// check compares what is armed, and that the loop would wake in time for the first.
func check(t *testing.T, l *Loop, timers []Timer, due map[int]time.Time) {
	t.Helper()
	if l.wheel.count != len(due) {
		t.Fatalf("the wheel counts %d timers, there are %d", l.wheel.count, len(due))
	}
	var first time.Time
	for i, at := range due {
		if !timers[i].Armed() {
			t.Fatalf("timer %d is not armed", i)
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	next, ok := l.wheel.next()
	if ok != (len(due) > 0) || ok && next.After(first.Add(Tick)) {
		t.Fatalf("the loop would wake at %v (%v), the first timer is due at %v", next, ok, first)
	}
}

func TestTimerForEver(t *testing.T) {
	l := &Loop{}
	l.wheel.init()
	l.now = l.wheel.start.Add(time.Hour)
	l.wheel.advance(l.now)
	var timer Timer
	l.AfterFunc(&timer, math.MaxInt64, func() { t.Error("fired") })
	l.now = l.now.Add(100 * time.Hour)
	l.wheel.advance(l.now)
	if !timer.Armed() {
		t.Fatal("not armed")
	}
}

func TestTimersFireOnALoop(t *testing.T) {
	l := start(t)
	var timers [3]Timer
	fired := make(chan time.Duration, 3)
	begin := time.Now()
	l.Call(func() {
		for i, d := range []time.Duration{0, 30 * time.Millisecond, time.Hour} {
			l.AfterFunc(&timers[i], d, func() { fired <- time.Since(begin) })
		}
		timers[2].Stop()
		timers[2].Stop()
	})
	for _, least := range []time.Duration{0, 30*time.Millisecond - Tick} {
		select {
		case at := <-fired:
			if at < least {
				t.Fatalf("fired after %v, want %v", at, least)
			}
		case <-time.After(patience):
			t.Fatal("a timer did not fire")
		}
	}
	// One that comes sooner than what the loop waits for must wake it in time.
	l.Call(func() {
		l.AfterFunc(&timers[0], time.Hour, func() {})
		l.AfterFunc(&timers[1], 20*time.Millisecond, func() { fired <- 0 })
	})
	select {
	case <-fired:
	case <-time.After(patience):
		t.Fatal("the sooner timer did not fire")
	}
}

func TestTimersLetGoAtTheEnd(t *testing.T) {
	l := manual(t)
	var timer, again Timer
	fired := 0
	l.AfterFunc(&timer, time.Hour, func() {
		fired++
		l.AfterFunc(&again, 0, func() { fired++ }) // comes to nothing: the loop is over
	})
	l.wheel.fireAll()
	if fired != 1 || again.Armed() {
		t.Fatalf("fired %d, armed %v", fired, again.Armed())
	}
}
