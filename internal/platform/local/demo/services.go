package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// instance is one replica of a service under `weft run`.
type instance struct {
	service *Service
	replica int // from 1
	port    int // of the program on this machine
	child   *child
}

// name is unique in the demo: "ratings-v1-2".
func (in *instance) name() string {
	return in.service.Name + "-" + in.service.Version + "-" + strconv.Itoa(in.replica)
}

// startServices starts all at once and tells of each as it gets ready, in the order of the description.
func (l *lab) startServices(ctx context.Context) error {
	total := 0
	for _, s := range l.d.Services {
		total += s.Replicas
	}
	ports, err := freePorts(total)
	if err != nil {
		return err
	}
	for i := range l.d.Services {
		s := &l.d.Services[i]
		for n := range s.Replicas {
			in := &instance{service: s, replica: n + 1, port: ports[len(l.instances)]}
			if err := l.startInstance(in); err != nil {
				return err
			}
			l.instances = append(l.instances, in)
		}
	}
	for i := range l.d.Services {
		s := &l.d.Services[i]
		took, err := l.serviceReady(ctx, s)
		if err != nil {
			return err
		}
		what := s.label()
		if s.Replicas > 1 {
			what += fmt.Sprintf(", %d replicas,", s.Replicas)
		}
		l.out.ready(what, took)
	}
	return nil
}

// startInstance runs a replica in the mesh as a user would.
func (l *lab) startInstance(in *instance) error {
	s := in.service
	values := map[string]string{"PORT": strconv.Itoa(in.port), "BIN": l.o.BinDir, "REPLICA": strconv.Itoa(in.replica)}
	var command []string
	for _, word := range s.Command {
		w, err := expand(word, values)
		if err != nil {
			return fmt.Errorf("command of %s: %w", s.label(), err)
		}
		command = append(command, w)
	}
	if _, err := os.Stat(command[0]); err != nil {
		return fmt.Errorf("program of %s: %w; `make build` puts it beside weft", s.label(), err)
	}
	args := []string{
		"run", "--socket", l.socket(), "--namespace", l.d.Namespace,
		"--service", s.Name, "--account", s.Account,
		"--port", fmt.Sprintf("%d:%d/%s", s.Port, in.port, protocolOr(s.Protocol)),
	}
	if s.Version != "" {
		args = append(args, "--version", s.Version)
	}
	if s.Health != "" {
		args = append(args, "--health", s.Health)
	}
	args = append(append(args, "--"), command...)
	c, err := l.nursery.start(childOptions{label: s.label(), log: l.logFile(in.name()), args: args})
	if err != nil {
		return err
	}
	in.child = c
	return nil
}

func protocolOr(p string) string {
	if p == "" {
		return "auto"
	}
	return p
}

// serviceReady waits until the mesh knows all replicas, and returns how long that took from the first start.
func (l *lab) serviceReady(ctx context.Context, s *Service) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var mine []*instance
	for _, in := range l.instances {
		if in.service == s {
			mine = append(mine, in)
		}
	}
	have := 0
	err := poll(ctx, pollEvery, func() (bool, error) {
		for _, in := range mine {
			if in.child.ended() {
				return false, in.child.exitError()
			}
		}
		n, err := l.endpoints(ctx, s)
		if err != nil {
			return false, err
		}
		have = n
		return n >= s.Replicas, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, fmt.Errorf("%s: %d of %d replicas joined the mesh within %v; the end of %s:\n%s",
			s.label(), have, s.Replicas, readyWithin, mine[0].child.o.log, tail(mine[0].child.o.log, 15))
	}
	if err != nil {
		return 0, err
	}
	return time.Since(mine[0].child.started), nil
}

// endpoints counts the registered, not draining endpoints of a version.
func (l *lab) endpoints(ctx context.Context, s *Service) (int, error) {
	ids, err := l.endpointIDs(ctx, s)
	return len(ids), err
}

// endpointIDs lists them.
func (l *lab) endpointIDs(ctx context.Context, s *Service) ([]string, error) {
	all, err := l.services(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, info := range all {
		if info.GetService().GetName() != l.d.Namespace+"/"+s.Name {
			continue
		}
		for _, e := range info.GetEndpoints().GetEndpoints() {
			if !e.GetDraining() && e.GetLabels()[model.LabelVersion] == s.Version {
				ids = append(ids, e.GetId())
			}
		}
	}
	return ids, nil
}

// stopServices ends all replicas side by side.
func (l *lab) stopServices() {
	var wg sync.WaitGroup
	for _, in := range l.instances {
		if in.child != nil {
			wg.Go(func() { in.child.stop(leaveGrace) })
		}
	}
	wg.Wait()
}

// startLoad starts the client inside the mesh and, unless it was declined, the gentle load.
func (l *lab) startLoad(ctx context.Context) error {
	orders, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("load: %w", err), orders.Close(), in.Close())
	}
	l.client = newRemote(in, out)
	c, err := l.nursery.start(childOptions{
		label: "load", log: l.logFile("load"), stdin: orders, stdout: answers,
		args: []string{
			"run", "--socket", l.socket(), "--namespace", l.d.Namespace,
			"--service", l.d.Load.Service, "--account", l.d.Load.Account, "--", l.o.Executable, "demo-client",
		},
	})
	if err = errors.Join(err, orders.Close(), answers.Close()); err != nil {
		return err
	}
	l.loadChild = c
	if err := l.loadReady(ctx); err != nil {
		return err
	}
	l.out.ready("load client", time.Since(c.started))
	rps := l.o.LoadRPS
	if rps == 0 {
		rps = l.d.Load.RPS
	}
	if rps <= 0 {
		return nil
	}
	l.gentle, err = l.client.start(Job{URL: l.d.Load.URL, Reject: l.d.Load.Reject, RPS: rps, Concurrency: 32})
	if err == nil {
		l.out.printf("✓ load of %g requests/s on %s", rps, l.d.Load.URL)
	}
	return err
}

// loadReady waits until the load's own URL answers well through the mesh.
func (l *lab) loadReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	last := "no answer yet"
	err := poll(ctx, pollEvery, func() (bool, error) {
		if l.loadChild.ended() {
			return false, l.loadChild.exitError()
		}
		r, err := l.client.do(ctx, Job{URL: l.d.Load.URL, Reject: l.d.Load.Reject, RPS: 1, Count: 1, Timeout: 5})
		if err != nil {
			return false, err
		}
		if len(r.Failures) > 0 {
			last = r.Failures[0].Reason
		}
		return r.OK == 1, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer through the mesh within %v: %s; the end of the client's log:\n%s",
			l.d.Load.URL, readyWithin, last, tail(l.logFile("load"), 15))
	}
	return err
}
