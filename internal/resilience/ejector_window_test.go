package resilience

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestSuccessRateHasItsWindow counts only the answers of the window, and wants as many of them as the policy says
// before the rate ejects, for as long as the policy says.
func TestSuccessRateHasItsWindow(t *testing.T) {
	h := newHarness(t, model.Ejection{SuccessRate: 0.5, MinRequests: 8, Window: 2 * time.Second, Base: 3 * time.Second}, 4)
	for i := range 7 {
		if h.try(0, status(500)) {
			t.Fatalf("ejected by %d answers of 8", i+1)
		}
	}
	h.pass(3 * time.Second) // they are forgotten
	for i := range 8 {
		if ejected := h.try(0, status(500)); ejected != (i == 7) {
			t.Fatalf("answer %d after the first window: ejected %v", i+1, ejected)
		}
	}
	h.pass(3*time.Second - 1)
	h.admits(0, false)
	h.pass(1)
	h.admits(0, true)
}
