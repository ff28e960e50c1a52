package resilience

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func TestDecide(t *testing.T) {
	get := func(o Outcome) Try { return Try{Outcome: o, Idempotent: true} }
	post := func(o Outcome) Try { return Try{Outcome: o} }
	on := func(c ...model.RetryOn) *model.Retry { return &model.Retry{Attempts: 2, On: c} }
	status := func(n int) Outcome { return Outcome{Status: n} }
	failed := func(f Failure) Outcome { return Outcome{Failure: f} }
	grpc := func(s string) Outcome { return Outcome{Status: 200, GRPC: s} }
	for _, c := range []struct {
		name string
		m    *model.Retry
		try  Try
		want bool
		why  string
	}{
		{"no policy", nil, get(status(503)), false, "no retry policy"},
		{"no attempts", &model.Retry{On: []model.RetryOn{model.Retry5xx}}, get(status(503)), false, "no retry policy"},
		{"defaults: connect", on(), post(failed(Connect)), true, "connect-failure"},
		{"defaults: refused", on(), post(failed(Refused)), true, "refused-stream"},
		{"defaults: reset", on(), get(failed(Reset)), false, "the policy does not retry this failure"},
		{"defaults: 503", on(), get(status(503)), false, "the policy does not retry this answer"},
		{"codes only", &model.Retry{Attempts: 1, Codes: []int{500}}, get(failed(Connect)), false, "the policy does not retry this failure"},
		{"reset of GET", on(model.RetryReset), get(failed(Reset)), true, "reset"},
		{"reset of POST", on(model.RetryReset), post(failed(Reset)), false, "the method may not be repeated, and anyMethod is not set"},
		{"reset of any POST", &model.Retry{Attempts: 1, On: []model.RetryOn{model.RetryReset}, AnyMethod: true}, post(failed(Reset)), true, "reset"},
		{"timeout", on(model.RetryTimeout), get(failed(Timeout)), true, "timeout"},
		{"gateway error", on(model.RetryGatewayError), get(status(504)), true, "status"},
		{"no gateway error", on(model.RetryGatewayError), get(status(500)), false, "the policy does not retry this answer"},
		{"5xx: 599", on(model.Retry5xx), get(status(599)), true, "5xx"},
		{"5xx: 600", on(model.Retry5xx), get(status(600)), false, "the policy does not retry this answer"},
		{"5xx: connect", on(model.Retry5xx), post(failed(Connect)), true, "connect-failure"},
		{"4xx: 409", on(model.Retry4xx), get(status(409)), true, "status"},
		{"4xx: 404", on(model.Retry4xx), get(status(404)), false, "the policy does not retry this answer"},
		{"code", &model.Retry{Attempts: 1, Codes: []int{429}}, get(status(429)), true, "status"},
		{"code of POST", &model.Retry{Attempts: 1, Codes: []int{429}}, post(status(429)), false, "the method may not be repeated, and anyMethod is not set"},
		{"gRPC unavailable", on(model.RetryUnavailable), post(grpc("14")), true, "gRPC status"},
		{"gRPC cancelled", on(model.RetryCancelled), post(grpc("1")), true, "gRPC status"},
		{"gRPC deadline", on(model.RetryDeadline), post(grpc("4")), true, "gRPC status"},
		{"gRPC exhausted", on(model.RetryExhausted), post(grpc("8")), true, "gRPC status"},
		{"gRPC internal", on(model.RetryInternal), post(grpc("13")), true, "gRPC status"},
		{"gRPC other", on(model.RetryInternal), post(grpc("14")), false, "the policy does not retry this answer"},
		{"gRPC nonsense", on(model.RetryInternal), post(grpc("1e")), false, "the policy does not retry this answer"},
		{"gRPC long", on(model.RetryInternal), post(grpc("0000013")), false, "the policy does not retry this answer"},
		{"gRPC ok", on(model.RetryUnavailable), post(grpc("0")), false, "the policy does not retry this answer"},
		{"rate limited", on(model.RetryRateLimited), Try{Outcome: status(429), Idempotent: true, Limited: true}, true, "envoy-ratelimited"},
		{"429 by others", on(model.RetryRateLimited), get(status(429)), false, "the policy does not retry this answer"},
		{"HTTP/3", on(model.RetryHTTP3), get(failed(Reset)), false, "the policy does not retry this failure"},
		{"begun", on(model.Retry5xx), Try{Outcome: status(503), Idempotent: true, Begun: true}, false, "the answer has begun"},
		{"spent", on(model.Retry5xx), Try{Outcome: status(503), Idempotent: true, Spent: true}, false, "the request's content is too large to be kept for another try"},
		{"second", on(model.Retry5xx), Try{Outcome: status(503), Idempotent: true, Retries: 1}, true, "5xx"},
		{"no more", on(model.Retry5xx), Try{Outcome: status(503), Idempotent: true, Retries: 2}, false, "no retries left"},
	} {
		got, why := NewRetryPolicy(c.m).Decide(c.try)
		if got != c.want || why != c.why {
			t.Errorf("%s: %v, %q; want %v, %q", c.name, got, why, c.want, c.why)
		}
	}
}

func TestRetryPolicyBounds(t *testing.T) {
	p := NewRetryPolicy(&model.Retry{Attempts: 99, On: []model.RetryOn{model.Retry5xx}, Codes: []int{-1, 600, 1 << 30}, Elsewhere: true})
	if p.Attempts() != MaxRetries || !p.Elsewhere() || !p.Answers() {
		t.Errorf("attempts %d, elsewhere %v, answers %v", p.Attempts(), p.Elsewhere(), p.Answers())
	}
	if p := NewRetryPolicy(&model.Retry{Attempts: 1}); p.Answers() {
		t.Error("connect failures only, and still answers are looked at")
	}
	var none *RetryPolicy
	if none.Attempts() != 0 || none.Elsewhere() || none.Answers() {
		t.Error("no policy retries")
	}
	try := Try{Outcome: Outcome{Status: 200, GRPC: "14"}}
	if n := testing.AllocsPerRun(100, func() { p.Decide(try) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIdempotent(t *testing.T) {
	for method, want := range map[string]bool{"GET": true, "PUT": true, "DELETE": true, "POST": false, "PATCH": false, "CONNECT": false, "get": false} {
		if Idempotent(method) != want {
			t.Errorf("%s: %v", method, !want)
		}
	}
}

// TestBackoffIsFullJitter: uniform from 0 to the cap. Of 10,000 waits the mean is within 3% of half of it (five
// standard deviations), and both ends are reached within 1%.
func TestBackoffIsFullJitter(t *testing.T) {
	const ms = time.Millisecond
	retry := &model.Retry{Backoff: 100 * ms, MaxBackoff: 300 * ms}
	for _, c := range []struct {
		retry *model.Retry
		n     int
		most  time.Duration
	}{
		{nil, 0, 25 * ms},
		{nil, 3, 200 * ms},
		{nil, 4, 250 * ms},
		{nil, 1 << 30, 250 * ms},
		{retry, 0, 100 * ms},
		{retry, 1, 200 * ms},
		{retry, 2, 300 * ms},
		{retry, 64, 300 * ms},
		{&model.Retry{Backoff: 100 * ms, MaxBackoff: ms}, 5, 100 * ms},
	} {
		random := rand.New(rand.NewPCG(1, uint64(c.n)))
		var sum, low, high time.Duration
		low = time.Hour
		const n = 10_000
		for range n {
			d := Backoff(c.n, c.retry, random.Uint64())
			sum, low, high = sum+d, min(low, d), max(high, d)
		}
		if mean := float64(sum) / n / float64(c.most); mean < 0.485 || mean > 0.515 {
			t.Errorf("retry %d of %v: the mean is %.3f of the cap", c.n, c.retry, mean)
		}
		if low > c.most/100 || high < c.most*99/100 || high > c.most {
			t.Errorf("retry %d of %v: from %v to %v, want 0 to %v", c.n, c.retry, low, high, c.most)
		}
	}
	if Backoff(3, retry, 0) != 0 || Backoff(3, retry, 1<<64-1) != 300*ms {
		t.Error("the ends of the random word are not the ends of the wait")
	}
}
