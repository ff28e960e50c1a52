package loop

import "iter"

// maxFree bounds the finished coroutines a loop keeps for reuse.
const maxFree = 512

// Task is a coroutine of a loop. It runs until it parks or ends; nothing else of its loop runs meanwhile.
type Task struct {
	loop   *Loop
	job    func()
	next   func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
	parked bool
	queued bool
}

// Go runs f as a task of the loop, in this turn or the next. f runs exactly once.
func (l *Loop) Go(f func()) {
	t := l.task()
	t.job = f
	t.queued = true
	l.ready = append(l.ready, t)
}

// task takes a finished coroutine or makes one.
func (l *Loop) task() *Task {
	if n := len(l.free); n > 0 {
		t := l.free[n-1]
		l.free = l.free[:n-1]
		return t
	}
	t := &Task{loop: l}
	t.next, t.stop = iter.Pull(t.body)
	return t
}

// body runs one job after another; between them the task rests in the loop's free list.
func (t *Task) body(yield func(struct{}) bool) {
	t.yield = yield
	for {
		job := t.job
		t.job = nil
		job()
		if len(t.loop.free) >= maxFree {
			return
		}
		t.loop.free = append(t.loop.free, t)
		if !yield(struct{}{}) {
			return
		}
	}
}

// resume runs t until it parks or ends. Resumes nest: a task may resume another.
func (l *Loop) resume(t *Task) {
	before := l.current
	l.current = t
	t.next()
	l.current = before
}

// Current returns the running task, or nil when the loop itself runs (a callback, a timer, a flush).
func (l *Loop) Current() *Task { return l.current }

// Park suspends the current task until Wake. It may return without one, so callers loop on their condition.
func (l *Loop) Park() {
	t := l.current
	if t == nil {
		panic("loop: Park outside a task")
	}
	t.parked = true
	t.yield(struct{}{})
	t.parked = false
}

// Wake lets a parked task go on later in this turn. A nil, running, or already woken task is left alone.
func (l *Loop) Wake(t *Task) {
	if t == nil || !t.parked || t.queued {
		return
	}
	t.queued = true
	l.ready = append(l.ready, t)
}

// runReady runs tasks until none is woken. New arrivals of this turn run too; what they wake as well.
func (l *Loop) runReady() {
	for i := 0; i < len(l.ready); i++ {
		t := l.ready[i]
		l.ready[i] = nil
		t.queued = false
		l.resume(t)
	}
	l.ready = l.ready[:0]
}
