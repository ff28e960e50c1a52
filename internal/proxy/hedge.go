package proxy

import (
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/resilience"
)

// contender is one of several tries of a request that run at once, because the first is slow (resilience.HedgePolicy).
// Each waits in a task of its own, which finishes its stream when it has lost.
type contender struct {
	bout
	wait func() // its task; bound once, so that using it allocates nothing
}

// bout is a contender's part in one request.
type bout struct {
	x       *exchange // that waits for it; another's once it has lost
	ep      *endpoint
	up      stream
	reused  bool
	try     try
	head    *message.Head
	err     error
	done    bool
	lost    bool
	counted bool // into the budget
}

func (w *worker) newContender(b bout) *contender {
	var c *contender
	if n := len(w.contenders); n > 0 {
		c = w.contenders[n-1]
		w.contenders = w.contenders[:n-1]
	} else {
		c = &contender{}
		c.wait = func() { w.await(c) }
	}
	c.bout = b
	return c
}

func (w *worker) freeContender(c *contender) {
	c.bout = bout{}
	if len(w.contenders) < maxPooled {
		w.contenders = append(w.contenders, c)
	}
}

// await returns the head of the answer: the first that comes, where a policy allows to ask others too.
func (x *exchange) await(reused bool) (*message.Head, bool, error) {
	if x.plan == nil || x.plan.hedge == nil || !x.sentAll && !x.noContent || x.fixed != nil || x.switched {
		h, err := x.up.Head()
		return h, reused, err
	}
	x.contend(x.w.newContender(bout{x: x, ep: x.ep, up: x.up, reused: reused, try: x.try}))
	for hedges := 0; ; {
		if c := x.leader(); c != nil {
			head, reused, err := c.head, c.reused, c.err
			x.choose(c)
			return head, reused, err
		}
		since := x.w.loop.Now().Sub(x.tryStart)
		if at, ok, _ := x.plan.hedge.Next(hedges, resilience.Idempotent(x.req.Method) || isGRPC(x.req), false); ok {
			if at > since {
				x.w.loop.AfterFunc(&x.pause, at-since, x.onSlept)
			} else {
				hedges++
				x.hedge()
				continue
			}
		}
		x.parked = x.w.loop.Current()
		x.w.loop.Park()
		x.parked = nil
		x.pause.Stop()
	}
}

// contend makes a task wait for a try's answer.
func (x *exchange) contend(c *contender) {
	x.contenders = append(x.contenders, c)
	x.w.loop.Go(c.wait)
}

// await is a contender's task.
func (w *worker) await(c *contender) {
	c.head, c.err = c.up.Head()
	c.done = true
	if c.lost {
		w.drop(c)
		return
	}
	w.loop.Wake(c.x.parked)
}

// hedge sends the request to another endpoint, if there is one and the budget allows it.
func (x *exchange) hedge() {
	for _, c := range x.contenders {
		if !contains(x.tried, c.ep) {
			x.tried = append(x.tried, c.ep)
		}
	}
	i := x.w.pickFrom(x.set, x.tport, x.tried, 0, false)
	if i < 0 {
		return
	}
	if ok, _ := x.set.budget.Withdraw(x.w.loop.Now()); !ok {
		return
	}
	b := bout{x: x, ep: x.set.all[i], counted: true}
	b.try = try{at: i, open: true, probe: x.set.eject.Begin(i, x.w.loop.Now())}
	up, reused, err := b.ep.open(x, false)
	if err != nil {
		x.set.budget.Done()
		x.set.eject.Abandon(i, b.try.probe)
		return
	}
	b.up, b.reused = up, reused
	b.ep.inflight++
	c := x.w.newContender(b)
	first, ep := x.up, x.ep
	x.up, x.ep = up, c.ep
	x.prepare()
	err = up.SendHead(x.req, x.noContent)
	if err == nil && !x.noContent {
		err = up.SendData(x.replay, true)
	}
	x.up, x.ep = first, ep
	if err != nil {
		c.lost = true
		x.w.drop(c)
		x.set.budget.Done()
		return
	}
	x.rec.Attempts++
	x.contend(c)
}

// leader returns the try whose answer counts: the first good one, or the last to fail when all have.
func (x *exchange) leader() *contender {
	failed := 0
	for _, c := range x.contenders {
		if c.done && c.err == nil {
			return c
		}
		if c.done {
			failed++
		}
	}
	if failed < len(x.contenders) {
		return nil
	}
	return x.contenders[failed-1]
}

// abortAll ends every try; those who wait for an answer wake.
func (x *exchange) abortAll(reason abortReason) {
	if x.up != nil {
		x.up.Abort(reason)
	}
	for _, c := range x.contenders {
		c.up.Abort(reason)
	}
}

// choose makes a try the exchange's own and gives up the others.
func (x *exchange) choose(won *contender) {
	for _, c := range x.contenders {
		if c.counted {
			x.set.budget.Done()
		}
		if c == won {
			continue
		}
		c.lost = true
		x.set.eject.Abandon(c.try.at, c.try.probe)
		if c.done {
			x.w.drop(c)
		} else {
			c.up.Abort(abortCancel) // its task does the rest
		}
	}
	clear(x.contenders)
	x.contenders = x.contenders[:0]
	x.up, x.ep, x.try = won.up, won.ep, won.try
	x.w.freeContender(won)
}

// drop ends a try that has lost.
func (w *worker) drop(c *contender) {
	if !c.done || c.err == nil {
		c.up.Abort(abortCancel)
	}
	c.up.Finish()
	c.ep.inflight--
	w.freeContender(c)
}
