package resilience

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestBudgetHoldsRetriesInAnOutage: every try of every request fails, each wants three retries, and load changes
// tenfold. Retries are at most 20% of the requests at any time, and at least 19.5% in the end.
func TestBudgetHoldsRetriesInAnOutage(t *testing.T) {
	b := NewBudget(&model.RetryBudget{Ratio: 0.2})
	random := rand.New(rand.NewPCG(7, 8))
	requests, retries := 0, 0
	for now, second := start(), 0; second < 120; {
		rate := []float64{1000, 100, 300}[second/10%3]
		now = now.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		second = int(now.Sub(start()) / time.Second)
		requests++
		b.Deposit(now)
		for range 3 {
			if ok, _ := b.Withdraw(now); !ok {
				break
			}
			retries++
			b.Done()
		}
		if float64(retries) > 0.2*float64(requests)+1e-6 {
			t.Fatalf("%d retries of %d requests", retries, requests)
		}
	}
	if share := float64(retries) / float64(requests); share < 0.195 {
		t.Errorf("%d retries of %d requests: %.3f", retries, requests, share)
	}
}

func TestBudgetEdges(t *testing.T) {
	now := start()
	var none *Budget
	none.Deposit(now)
	if ok, why := none.Withdraw(now); !ok || why != "no retry budget" {
		t.Errorf("without a budget: %v, %s", ok, why)
	}
	none.Done()
	if NewBudget(nil) != nil {
		t.Error("nil makes a budget")
	}

	floor := NewBudget(&model.RetryBudget{MinPerSecond: 0.5, Window: 10 * time.Second})
	for i := range 6 {
		if ok, _ := floor.Withdraw(now); ok != (i < 5) {
			t.Errorf("retry %d of a floor of 5 in 10 s: %v", i, ok)
		}
	}
	now = now.Add(10 * time.Second)
	if n := floor.Left(now); n != 5 {
		t.Errorf("%d left after the window, want 5", n)
	}

	flight := NewBudget(&model.RetryBudget{MinInFlight: 2})
	for i, want := range []string{"within the retries that are always allowed", "within the retries that are always allowed", "retry budget exhausted"} {
		if _, why := flight.Withdraw(now); why != want {
			t.Errorf("retry %d: %s, want %s", i, why, want)
		}
	}
	flight.Done()
	if ok, _ := flight.Withdraw(now); !ok {
		t.Error("one has ended, and none may follow")
	}
	if s := flight.Explain(now); !strings.Contains(s, "2 in flight; 0 left, 1 refused") {
		t.Error(s)
	}
	for range 5 {
		flight.Done() // more than there were
	}
	if n := flight.Left(now); n != 2 {
		t.Errorf("%d left, want 2", n)
	}
}

// TestBudgetForgetsByTenths: deposits go as the window passes them, and time that goes back counts as now.
func TestBudgetForgetsByTenths(t *testing.T) {
	b, now := NewBudget(&model.RetryBudget{Ratio: 1, Window: 10 * time.Second}), start()
	for range 10 {
		b.Deposit(now)
		now = now.Add(time.Second)
	}
	for want := 9; want >= 0; want-- {
		if got := b.Left(now); got != want {
			t.Fatalf("%d left at %v, want %d", got, now.Sub(start()), want)
		}
		now = now.Add(time.Second)
	}
	b.Deposit(now)
	b.Deposit(now.Add(-time.Hour))
	if got := b.Left(now); got != 2 {
		t.Errorf("%d left, want 2", got)
	}
	if got := b.Left(now.Add(1000 * time.Hour)); got != 0 {
		t.Errorf("%d left after a long time", got)
	}
	if n := testing.AllocsPerRun(100, func() { b.Deposit(now); b.Withdraw(now); b.Done() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
