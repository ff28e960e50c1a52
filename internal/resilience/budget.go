package resilience

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	budgetBuckets = 10
	defaultWindow = 10 * time.Second
)

// Budget bounds the retries of a service to a share of its requests (Finagle's and Linkerd's retry budget): within
// a window a request deposits Ratio and a retry withdraws 1, and MinPerSecond is always there. Beside that,
// MinInFlight retries at a time are allowed. The window moves on by tenths. nil allows everything.
type Budget struct {
	ratio, floor float64 // floor: what is there for each window without requests
	minInFlight  int
	inFlight     int
	window       window
	refused      uint64
}

// NewBudget returns nil for nil.
func NewBudget(m *model.RetryBudget) *Budget {
	if m == nil {
		return nil
	}
	length := cmp.Or(m.Window, defaultWindow)
	return &Budget{
		ratio: m.Ratio, floor: m.MinPerSecond * length.Seconds(), minInFlight: m.MinInFlight,
		window: newWindow(length),
	}
}

// Deposit counts a request, not its retries.
func (b *Budget) Deposit(now time.Time) {
	if b != nil {
		b.window.at(now).a++
	}
}

// Withdraw asks for one retry. If it is allowed, Done must follow when the retry has ended.
func (b *Budget) Withdraw(now time.Time) (ok bool, why string) {
	if b == nil {
		return true, "no retry budget"
	}
	bucket := b.window.at(now)
	switch {
	case b.balance() >= 1:
		why = "within the budget"
	case b.inFlight < b.minInFlight:
		why = "within the retries that are always allowed"
	default:
		b.refused++
		return false, "retry budget exhausted"
	}
	bucket.b++
	b.inFlight++
	return true, why
}

// Done tells that a retry has ended.
func (b *Budget) Done() {
	if b != nil && b.inFlight > 0 {
		b.inFlight--
	}
}

// rounding is what sums of ratios may lack of a whole retry.
const rounding = 1e-9

// balance is how many retries are left; the window is up to date.
func (b *Budget) balance() float64 {
	requests, retries := b.window.sum()
	return float64(requests)*b.ratio + b.floor - float64(retries) + rounding
}

// Left is how many retries could be made now.
func (b *Budget) Left(now time.Time) int {
	b.window.at(now)
	return max(0, int(b.balance()), b.minInFlight-b.inFlight)
}

// BudgetState is what a Budget has counted: requests and retries in the window, what is left of it now, and the
// retries refused since it began.
type BudgetState struct {
	Requests, Retries, Left, Refused uint64
	InFlight                         int
	Ratio                            float64
	Window                           time.Duration
}

// State returns the present figures; zero for nil.
func (b *Budget) State(now time.Time) BudgetState {
	if b == nil {
		return BudgetState{}
	}
	s := BudgetState{Left: uint64(b.Left(now)), Refused: b.refused, InFlight: b.inFlight, Ratio: b.ratio, Window: b.window.length}
	s.Requests, s.Retries = b.window.sum()
	return s
}

// Explain is one line about what is left and why.
func (b *Budget) Explain(now time.Time) string {
	if b == nil {
		return "no retry budget: retries are not bounded"
	}
	s := b.State(now)
	return fmt.Sprintf("retry budget %.4g%%: %d requests and %d retries in %s, %d in flight; %d left, %d refused so far",
		100*s.Ratio, s.Requests, s.Retries, s.Window, s.InFlight, s.Left, s.Refused)
}
