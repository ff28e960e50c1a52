package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkWithin bounds all assertions together: a check that hangs is a check that failed.
const checkWithin = 3 * time.Minute

// check tries every assertion of the description, each on its own: one that fails or cannot be tried does not
// keep the others from being tried. It prints the sum last.
func (l *lab) check(ctx context.Context) error {
	l.out.printf("")
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	for _, f := range []func(context.Context) []verdict{
		l.checkReady, l.checkEdges, l.checkSplit, l.checkHeader, l.checkShift, l.checkApply, l.checkOutage, l.checkEndpoint,
	} {
		for _, v := range f(ctx) {
			l.out.verdict(v)
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			l.out.printf("\nstopping ...")
			break
		}
	}
	l.out.printf("\nchecked in %.0f s", time.Since(began).Seconds())
	l.out.printf("%d passed, %d failed", l.out.passed, l.out.failed)
	if l.out.failed > 0 || ctx.Err() != nil {
		return ErrChecksFailed
	}
	return nil
}

// untried is the verdict on a claim that could not be tried.
func untried(claim string, err error) []verdict {
	return []verdict{{claim: claim, figure: "could not be tried: " + err.Error()}}
}

// checkReady counts what the mesh knows. The load's own proxy may still be on its way when its first request
// has been answered, so it gets a moment.
func (l *lab) checkReady(ctx context.Context) []verdict {
	const claim = "every service is ready"
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var v verdict
	err := poll(wait, pollEvery, func() (bool, error) {
		var err error
		v, err = l.ready(wait, claim)
		return v.ok, err
	})
	if v.claim == "" {
		return untried(claim, err)
	}
	return []verdict{v}
}

func (l *lab) ready(ctx context.Context, claim string) (verdict, error) {
	want, have := 0, 0
	for i := range l.d.Services {
		s := &l.d.Services[i]
		n, err := l.endpoints(ctx, s)
		if err != nil {
			return verdict{}, err
		}
		want += s.Replicas
		have += n
	}
	proxies, err := l.proxies(ctx)
	if err != nil {
		return verdict{}, err
	}
	var refused []string
	for _, p := range proxies {
		if p.GetNack() != "" {
			refused = append(refused, p.GetNode().GetId()+": "+p.GetNack())
		}
	}
	figure := fmt.Sprintf("%d of %d endpoints registered, %d of %d proxies connected", have, want, len(proxies), want+1)
	if len(refused) > 0 {
		figure += "; configuration refused by " + strings.Join(refused, ", ")
	}
	return verdict{claim, figure, have == want && len(proxies) == want+1 && len(refused) == 0}, nil
}

// checkEdges waits for the reports of both sides of every edge; proxies send them every few seconds.
func (l *lab) checkEdges(ctx context.Context) []verdict {
	if len(l.d.Check.Edges) == 0 {
		return nil
	}
	const claim = "every edge is mutual TLS with the right identities at both ends"
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var v []verdict
	err := poll(wait, 250*time.Millisecond, func() (bool, error) {
		rows, err := l.edges(wait)
		if err != nil {
			return false, err
		}
		v = judgeEdges(l.d, l.trust, rows)
		for _, one := range v {
			if !one.ok {
				return false, nil
			}
		}
		return true, nil
	})
	if v == nil {
		return untried(claim, err)
	}
	return v
}

func (l *lab) checkSplit(ctx context.Context) []verdict {
	c := l.d.Check.Split
	if c == nil {
		return nil
	}
	const claim = "traffic is shared as the weights say"
	if _, err := l.applyFile(ctx, l.route(c.Route)); err != nil {
		return untried(claim, err)
	}
	r, err := l.client.do(ctx, Job{URL: c.URL, Answer: c.Answer, RPS: 500, Count: c.Requests})
	if err != nil {
		return untried(claim, err)
	}
	return []verdict{judgeSplit(c.Shares, c.Requests, r)}
}

func (l *lab) checkHeader(ctx context.Context) []verdict {
	c := l.d.Check.Header
	if c == nil {
		return nil
	}
	claim := fmt.Sprintf("%s: %s goes to %s and nobody else does", c.Name, c.Value, c.Backend)
	if _, err := l.applyFile(ctx, l.route(c.Route)); err != nil {
		return untried(claim, err)
	}
	ask := func(value string) (Result, error) {
		j := Job{URL: c.URL, Answer: c.Answer, RPS: 250, Count: c.Requests}
		if value != "" {
			j.Header = map[string]string{c.Name: value}
		}
		return l.client.do(ctx, j)
	}
	mine, err := ask(c.Value)
	if err != nil {
		return untried(claim, err)
	}
	good, asked, strays := mine.Answers[c.Backend] == c.Requests, 0, 0
	for _, other := range c.Others {
		r, err := ask(other)
		if err != nil {
			return untried(claim, err)
		}
		asked += c.Requests
		strays += r.Answers[c.Backend]
		good = good && r.OK == c.Requests
	}
	figure := fmt.Sprintf("%d of %d reached it, and %d of %d others%s",
		mine.Answers[c.Backend], c.Requests, strays, asked, firstFailure(mine))
	return []verdict{{claim, figure, good && strays == 0}}
}

func (l *lab) checkApply(ctx context.Context) []verdict {
	c := l.d.Check.Apply
	if c == nil {
		return nil
	}
	const claim = "apply --wait returns in under 1 s and every request after it obeys"
	var slowest time.Duration
	var wrong, total int
	var example string
	for round := range c.Rounds {
		to := c.Routes[round%len(c.Routes)]
		took, err := l.applyFile(ctx, l.route(to.File))
		if err != nil {
			return untried(claim, err)
		}
		slowest = max(slowest, took)
		r, err := l.client.do(ctx, Job{URL: c.URL, Answer: c.Answer, RPS: 1000, Count: c.Requests, Concurrency: 64})
		if err != nil {
			return untried(claim, err)
		}
		total += r.Sent
		wrong += r.Sent - r.Answers[to.Backend]
		if example == "" {
			example = firstFailure(r)
		}
	}
	figure := fmt.Sprintf("%d changes, slowest %d ms; %d of %d requests disobeyed%s", c.Rounds, slowest.Milliseconds(), wrong, total, example)
	return []verdict{{claim, figure, slowest < time.Second && wrong == 0 && total == c.Rounds*c.Requests}}
}

// firstFailure is the reason of the first failure, to be appended to a figure.
func firstFailure(r Result) string {
	if len(r.Failures) == 0 {
		return ""
	}
	return "; first failure: " + r.Failures[0].Reason
}

// pause waits for d of real traffic, or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
