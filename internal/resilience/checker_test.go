package resilience

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestChecker plays results (+ good, - bad) and compares what is held after each (H healthy, u unhealthy).
func TestChecker(t *testing.T) {
	for _, c := range []struct {
		m             model.HealthCheck
		results, held string
	}{
		{model.HealthCheck{}, "+---+++", "HHHuuHH"},
		{model.HealthCheck{}, "-++---", "uuHHHu"},
		{model.HealthCheck{}, "+--+--+---", "HHHHHHHHHu"},
		{model.HealthCheck{}, "--+-++", "uuuuuH"},
		{model.HealthCheck{Healthy: 1, Unhealthy: 1}, "+-+-", "HuHu"},
	} {
		k, before := NewChecker(&c.m), "H"
		for i, r := range c.results {
			changed := k.Observe(r == '+')
			held := map[bool]string{true: "H", false: "u"}[k.Healthy()]
			if held != c.held[i:i+1] || changed != (held != before) {
				t.Errorf("%+v: after %s: %s, changed %v; want %c", c.m, c.results[:i+1], held, changed, c.held[i])
			}
			before = held
		}
	}
	var none *Checker
	if !none.Healthy() || none.Explain() != "not checked" {
		t.Error("what is not checked is healthy")
	}
	k := NewChecker(&model.HealthCheck{})
	for _, want := range []string{"not checked yet", "unhealthy; 0 of the 2 good", "unhealthy; 1 of the 2 good"} {
		if got := k.Explain(); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		k.Observe(want == "unhealthy; 0 of the 2 good")
	}
}

func TestCheckerCodes(t *testing.T) {
	for status, want := range map[int]bool{199: false, 200: true, 299: true, 300: false, 0: false} {
		if NewChecker(&model.HealthCheck{}).Good(status) != want {
			t.Errorf("%d by default: %v", status, !want)
		}
	}
	k := NewChecker(&model.HealthCheck{Codes: []model.CodeRange{{From: 204, To: 204}, {From: 400, To: 404}}})
	for status, want := range map[int]bool{200: false, 204: true, 400: true, 404: true, 405: false} {
		if k.Good(status) != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
}
