package balance

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// server is an endpoint of a simulation: workers that take exponential times, and a queue without bound.
type server struct {
	mean     time.Duration
	free     []time.Time // when each worker is
	inflight int
	rtt      EWMA
	picked   int
}

// done is a request that ends.
type done struct {
	at, began time.Time
	server    int
}

type doneHeap []done

func (h doneHeap) Len() int           { return len(h) }
func (h doneHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h doneHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *doneHeap) Push(x any)        { *h = append(*h, x.(done)) }
func (h *doneHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// simulate sends requests to servers by a policy, at rate a second (a Poisson process), for so long, and returns the
// latencies of all but the first tenth, in order.
func simulate(t *testing.T, set *Set, servers []server, rate float64, length time.Duration) []time.Duration {
	t.Helper()
	random := rand.New(rand.NewPCG(11, 12))
	var pending doneHeap
	var latencies []time.Duration
	end, warm := start().Add(length), start().Add(length/10)
	for now := start(); now.Before(end); now = now.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second))) {
		for len(pending) > 0 && !pending[0].at.After(now) {
			d := heap.Pop(&pending).(done)
			servers[d.server].inflight--
			servers[d.server].rtt.Observe(d.at.Sub(d.began), d.at, 0)
			if d.began.After(warm) {
				latencies = append(latencies, d.at.Sub(d.began))
			}
		}
		i, _ := set.Pick(&Input{
			Now: now, Random: random.Uint64(), Load: func(i int) int { return servers[i].inflight },
			Latency: func(i int) *EWMA { return &servers[i].rtt },
		})
		s := &servers[i]
		worker := 0
		for n := range s.free {
			if s.free[n].Before(s.free[worker]) {
				worker = n
			}
		}
		begin := s.free[worker]
		if begin.Before(now) {
			begin = now
		}
		s.free[worker] = begin.Add(time.Duration(random.ExpFloat64() * float64(s.mean)))
		s.inflight++
		s.picked++
		heap.Push(&pending, done{s.free[worker], now, i})
	}
	slices.Sort(latencies)
	return latencies
}

func fourServers(slow time.Duration) []server {
	all := make([]server, 4)
	for i := range all {
		all[i] = server{mean: 5 * time.Millisecond, free: make([]time.Time, 8)}
	}
	all[3].mean = slow
	return all
}

func percentile(l []time.Duration, p float64) time.Duration {
	return l[int(p*float64(len(l)-1))].Round(100 * time.Microsecond)
}

// TestSlowEndpoint: one of four endpoints is ten times slower; 500 requests a second for 120 s. Peak EWMA has a p99 that
// is at most half of round robin's, and least request one that is lower too; both have a lower mean.
func TestSlowEndpoint(t *testing.T) {
	p99, mean, slow := map[model.Algorithm]time.Duration{}, map[model.Algorithm]time.Duration{}, map[model.Algorithm]float64{}
	for _, a := range []model.Algorithm{model.RoundRobin, model.LeastRequest, model.PeakEWMA, model.Random} {
		servers := fourServers(50 * time.Millisecond)
		l := simulate(t, mustNew(t, model.Balance{Algorithm: a}, Client{}, candidates(4)), servers, 500, 2*time.Minute)
		sum, picked := time.Duration(0), 0
		for _, d := range l {
			sum += d
		}
		for i := range servers {
			picked += servers[i].picked
		}
		p99[a], mean[a], slow[a] = percentile(l, 0.99), sum/time.Duration(len(l)), float64(servers[3].picked)/float64(picked)
		t.Logf("%-13s mean %8v p50 %8v p99 %8v, %.2f%% to the slow one", a, mean[a].Round(time.Microsecond), percentile(l, 0.5), p99[a], 100*slow[a])
	}
	if 2*p99[model.PeakEWMA] > p99[model.RoundRobin] || p99[model.LeastRequest] >= p99[model.RoundRobin] {
		t.Errorf("p99 %v", p99)
	}
	if mean[model.PeakEWMA] >= mean[model.RoundRobin] || mean[model.LeastRequest] >= mean[model.RoundRobin] {
		t.Errorf("mean %v", mean)
	}
}

// TestEWMAReturns: an endpoint that was slow for a minute and is not any more has 15% to 35% of the requests of the
// two minutes that follow.
func TestEWMAReturns(t *testing.T) {
	set := mustNew(t, model.Balance{Algorithm: model.PeakEWMA}, Client{}, candidates(4))
	servers := fourServers(50 * time.Millisecond)
	simulate(t, set, servers, 500, time.Minute)
	share := func() float64 {
		n := 0
		for i := range servers {
			n += servers[i].picked
		}
		return float64(servers[3].picked) / float64(n)
	}
	if s := share(); s > 0.02 {
		t.Errorf("%.3f of the requests go to the slow endpoint", s)
	}
	for i := range servers { // time begins again for the simulation; estimates are of its end
		servers[i].rtt.at, servers[i].inflight, servers[i].picked = start(), 0, 0
		servers[i].free = make([]time.Time, 8)
	}
	servers[3].mean = servers[0].mean
	simulate(t, set, servers, 500, 2*time.Minute)
	if s := share(); s < 0.15 || s > 0.35 {
		t.Errorf("%.3f of the requests go to the endpoint that was slow, want about 1/4", s)
	}
}

// TestWeightsUnderLoad: with weights 1, 2, 3 and workers to match, least request gives shares within 10% of them.
func TestWeightsUnderLoad(t *testing.T) {
	all := candidates(3)
	servers := make([]server, 3)
	for i := range all {
		all[i].Weight = uint32(i + 1)
		servers[i] = server{mean: 10 * time.Millisecond, free: make([]time.Time, 4*(i+1))}
	}
	simulate(t, mustNew(t, model.Balance{}, Client{}, all), servers, 1500, time.Minute)
	total := float64(servers[0].picked + servers[1].picked + servers[2].picked)
	for i := range servers {
		if got, want := float64(servers[i].picked)/total, float64(i+1)/6; got < 0.9*want || got > 1.1*want {
			t.Errorf("endpoint %d of weight %d has %.3f, want %.3f", i, i+1, got, want)
		}
	}
}
