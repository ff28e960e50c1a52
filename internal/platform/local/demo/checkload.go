package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
)

// checkShift moves a service from one backend to the other in steps, under load.
func (l *lab) checkShift(ctx context.Context) []verdict {
	c := l.d.Check.Shift
	if c == nil {
		return nil
	}
	claim := fmt.Sprintf("moving %s from %s to %s at %g requests/s loses no request", c.Service, c.From, c.To, c.RPS)
	if _, err := l.applyText(ctx, splitRoute(l.d.Namespace, c, 0)); err != nil {
		return untried(claim, err)
	}
	load, err := l.client.start(Job{URL: c.URL, Answer: c.Answer, RPS: c.RPS, Concurrency: 1024})
	if err != nil {
		return untried(claim, err)
	}
	var applied error
	for _, percent := range c.Steps {
		if _, applied = l.applyText(ctx, splitRoute(l.d.Namespace, c, percent)); applied != nil {
			break
		}
		pause(ctx, 1200*time.Millisecond)
	}
	r, err := load.stop(ctx)
	if err = errors.Join(applied, err); err != nil {
		return untried(claim, err)
	}
	return []verdict{judgeLossless(claim, c.RPS, r, fmt.Sprintf("; %d went to %s, %d to %s", r.Answers[c.From], c.From, r.Answers[c.To], c.To))}
}

// splitRoute is an HTTPRoute that sends percent of a service's requests to c.To and the rest to c.From.
func splitRoute(namespace string, c *ShiftCheck, percent int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  parentRefs: [{group: "", kind: Service, name: %[2]s, port: %[3]d}]
  rules:
    - backendRefs:
        - {name: %[4]s, port: %[3]d, weight: %[5]d}
        - {name: %[6]s, port: %[3]d, weight: %[7]d}
`, namespace, c.Service, c.Port, c.From, 100-percent, c.To, percent)
}

// checkOutage kills the control plane under load, brings it back after a while and compares what it knows.
func (l *lab) checkOutage(ctx context.Context) []verdict {
	c := l.d.Check.Outage
	if c == nil {
		return nil
	}
	lossless := fmt.Sprintf("kill -9 of the control plane for %d s loses no request", c.Seconds)
	const same = "after its restart state and identities are as before"
	before, err := l.state(ctx)
	if err != nil {
		return append(untried(lossless, err), untried(same, err)...)
	}
	load, err := l.client.start(Job{URL: c.URL, Reject: c.Reject, RPS: c.RPS})
	if err != nil {
		return append(untried(lossless, err), untried(same, err)...)
	}
	pause(ctx, time.Second)
	killed := l.serve.kill()
	pause(ctx, time.Duration(c.Seconds)*time.Second)
	killed = errors.Join(killed, l.startServe(ctx))
	back := time.Now()
	verdictSame := l.sameState(ctx, same, before, back)
	pause(ctx, time.Second) // what the reconnected proxies were told is now in use
	r, err := load.stop(ctx)
	if err = errors.Join(killed, err); err != nil {
		return append(untried(lossless, err), verdictSame)
	}
	return []verdict{judgeLossless(lossless, c.RPS, r, ""), verdictSame}
}

// sameState waits until the restarted control plane knows what it knew.
func (l *lab) sameState(ctx context.Context, claim string, before state, back time.Time) verdict {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var diff string
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		now, err := l.state(ctx)
		if err != nil {
			return false, err
		}
		diff = before.differs(now)
		return diff == "", nil
	})
	if err != nil && diff == "" {
		diff = err.Error()
	}
	if diff != "" {
		return verdict{claim: claim, figure: diff}
	}
	return verdict{claim, fmt.Sprintf("%s, all back %d ms after it answered", before, time.Since(back).Milliseconds()), true}
}

// checkEndpoint kills one instance of a service with its sidecar, under load, and starts it again.
func (l *lab) checkEndpoint(ctx context.Context) []verdict {
	c := l.d.Check.Endpoint
	if c == nil {
		return nil
	}
	claim := fmt.Sprintf("kill -9 of one of %s's endpoints loses at most the requests in flight", c.Service)
	victim, err := l.victim(c.Service)
	if err != nil {
		return untried(claim, err)
	}
	load, err := l.client.start(Job{URL: c.URL, RPS: c.RPS, Trace: true})
	if err != nil {
		return untried(claim, err)
	}
	pause(ctx, 1500*time.Millisecond)
	from := time.Now()
	err = victim.child.kill()
	if err == nil {
		err = portCloses(ctx, victim.port)
	}
	until := time.Now()
	pause(ctx, 3*time.Second)
	r, stopErr := load.stop(ctx)
	if err = errors.Join(err, stopErr); err != nil {
		return untried(claim, err)
	}
	return []verdict{judgeKill(claim, Flight{from.UnixNano(), until.UnixNano()}, r), l.rejoin(ctx, victim)}
}

// victim is the last instance of a service that has others.
func (l *lab) victim(service string) (*instance, error) {
	var all []*instance
	for _, in := range l.instances {
		if in.service.Name == service {
			all = append(all, in)
		}
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("%s has %d instance(s); killing one proves nothing", service, len(all))
	}
	return all[len(all)-1], nil
}

// portCloses waits until nothing listens on a local port: only then has the program died with its supervisor.
func portCloses(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	err := poll(ctx, time.Millisecond, func() (bool, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return false, c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED), nil
	})
	if err != nil {
		return fmt.Errorf("%s still answers after its supervisor was killed: %w", addr, err)
	}
	return nil
}

// rejoin starts a killed instance again and waits until the mesh has it: an endpoint that was not there before,
// for the dead one may stay on the list until its lease ends.
func (l *lab) rejoin(ctx context.Context, in *instance) verdict {
	claim := in.service.label() + " joins again after kill -9"
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	before, err := l.endpointIDs(ctx, in.service)
	if err == nil {
		err = l.startInstance(in)
	}
	if err != nil {
		return verdict{claim: claim, figure: err.Error()}
	}
	err = poll(ctx, pollEvery, func() (bool, error) {
		if in.child.ended() {
			return false, in.child.exitError()
		}
		now, err := l.endpointIDs(ctx, in.service)
		fresh := slices.ContainsFunc(now, func(id string) bool { return !slices.Contains(before, id) })
		return fresh, err
	})
	if err != nil {
		return verdict{claim: claim, figure: fmt.Sprintf("no new endpoint: %v", err)}
	}
	return verdict{claim, fmt.Sprintf("registered after %.1f s", time.Since(in.child.started).Seconds()), true}
}
