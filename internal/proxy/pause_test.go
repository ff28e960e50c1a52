package proxy

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// busy answers the first n requests 503 with a Retry-After, and then 200.
func busy(n int64, after string, calls *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) <= n {
			w.Header().Set("retry-after", after)
			w.WriteHeader(503)
		}
	}
}

func onBusy(attempts int, timeout time.Duration) *model.Policy {
	return &model.Policy{Timeout: timeout, Retry: &model.Retry{
		Attempts: attempts, On: []model.RetryOn{model.RetryGatewayError}, Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
	}}
}

// TestRetryAfterPausesAnEndpoint has an endpoint that asks for a pause left out, a retry go to another one at once, and
// explain know until when.
func TestRetryAfterPausesAnEndpoint(t *testing.T) {
	for _, a := range []model.Algorithm{"", model.RoundRobin} {
		var calls atomic.Int64
		web := program(t, "web", busy(1<<30, "3600", &calls), saying("well"))
		web.Upstream = &model.Upstream{RetryAfter: &model.RetryAfter{Max: time.Minute}, Balance: model.Balance{Algorithm: a}}
		web.Policy = onBusy(1, 0)
		e, at := newLab(t).gateway(&model.Snapshot{Services: []model.Service{web}, Sockets: []model.Socket{{
			Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: toAll()}},
		}}}, 1)
		c := newClient(t, at)
		for range 100 {
			if code, body, _ := c.get("/"); code != 200 || body != "well" {
				t.Fatalf("%q: %d %q", a, code, body)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%q: %d requests went to the endpoint that asked for a pause, want 1", a, n)
		}
		out := e.Conditions([]model.ServiceName{name("web")})[0].GetOut()
		if len(out) != 1 || out[0].GetId() != "web-1" || out[0].GetState() != stateWaiting || time.Until(out[0].GetUntil().AsTime()) > time.Minute {
			t.Errorf("%q: left out: %v", a, out)
		}
	}
}

// TestRetryWaitsAsAsked has the retry of the only endpoint wait until it may be asked again, if there is time for it.
func TestRetryWaitsAsAsked(t *testing.T) {
	t.Run("fits", func(t *testing.T) {
		var calls atomic.Int64
		web := program(t, "web", busy(1, "1", &calls))
		web.Upstream, web.Policy = &model.Upstream{RetryAfter: &model.RetryAfter{}}, onBusy(1, time.Minute)
		c := newClient(t, newLab(t).edge(toAll(), web))
		began := time.Now()
		if code, _, _ := c.get("/"); code != 200 || calls.Load() != 2 {
			t.Errorf("%d after %d tries", code, calls.Load())
		}
		if took := time.Since(began); took < 990*time.Millisecond {
			t.Errorf("the retry came %s after it was to wait a second", took)
		}
	})
	t.Run("does not fit", func(t *testing.T) {
		var calls atomic.Int64
		web := program(t, "web", busy(1, "60", &calls))
		web.Upstream, web.Policy = &model.Upstream{RetryAfter: &model.RetryAfter{}}, onBusy(3, 20*time.Second)
		c := newClient(t, newLab(t).edge(toAll(), web))
		if code, _, h := c.get("/"); code != 503 || calls.Load() != 1 || h.Get("retry-after") != "60" {
			t.Errorf("%d after %d tries, %v: want the answer itself", code, calls.Load(), h)
		}
		// It is the last endpoint: it is not left out.
		if code, _, _ := c.get("/"); code != 200 {
			t.Errorf("the next request is answered %d", code)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		var calls atomic.Int64
		web := program(t, "web", busy(1, "60", &calls))
		web.Policy = onBusy(1, 20*time.Second)
		c := newClient(t, newLab(t).edge(toAll(), web))
		if code, _, _ := c.get("/"); code != 200 || calls.Load() != 2 {
			t.Errorf("without the policy: %d after %d tries", code, calls.Load())
		}
	})
}
