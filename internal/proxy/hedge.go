package proxy

import (
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/resilience"
)

// contender is one of several tries of a request that run at once, because the first is slow (resilience.HedgePolicy).
// Each waits in a task of its own, which finishes its stream when it has lost.
type contender struct {
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

// await returns the head of the answer: the first that comes, where a policy allows to ask others too.
func (x *exchange) await(reused bool) (*message.Head, bool, error) {
	if x.plan == nil || x.plan.hedge == nil || !x.sentAll && !x.noContent || x.fixed != nil || x.switched {
		h, err := x.up.Head()
		return h, reused, err
	}
	x.contend(&contender{ep: x.ep, up: x.up, reused: reused, try: x.try})
	for hedges := 0; ; {
		if c := x.leader(); c != nil {
			x.choose(c)
			return c.head, c.reused, c.err
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
	x.w.loop.Go(func() {
		c.head, c.err = c.up.Head()
		c.done = true
		if c.lost {
			x.w.drop(c)
			return
		}
		x.w.loop.Wake(x.parked)
	})
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
	c := &contender{ep: x.set.all[i], counted: true}
	c.try = try{at: i, open: true, probe: x.set.eject.Begin(i, x.w.loop.Now())}
	up, reused, err := c.ep.open(x, false)
	if err != nil {
		x.set.budget.Done()
		x.set.eject.Abandon(i, c.try.probe)
		return
	}
	c.up, c.reused = up, reused
	c.ep.inflight++
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
	x.contenders = nil
	x.up, x.ep, x.try = won.up, won.ep, won.try
}

// drop ends a try that has lost.
func (w *worker) drop(c *contender) {
	if !c.done || c.err == nil {
		c.up.Abort(abortCancel)
	}
	c.up.Finish()
	c.ep.inflight--
}
