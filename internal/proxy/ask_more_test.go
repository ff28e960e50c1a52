package proxy

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/weft-mesh/weft/internal/model"
)

// TestAuthTimeoutOfAPolicy: a policy says how long an authorization service has, in place of 5 s.
func TestAuthTimeoutOfAPolicy(t *testing.T) {
	over := make(chan struct{})
	auth := program(t, "auth", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(over) })
	web := program(t, "web", func(http.ResponseWriter, *http.Request) { t.Error("the request went on") })
	_, at := guardedEdge(t, byHTTP, model.Rule{Policy: &model.Policy{AuthTimeout: 50 * time.Millisecond}}, auth, web)
	began := time.Now()
	resp, body := ask(t, at, "GET", "/", "")
	if resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagUnchecked || !strings.Contains(body, "50ms") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if took := time.Since(began); took > model.AuthTimeout-time.Second/2 {
		t.Errorf("the service had %v", took)
	}
}

// TestLimitServicesAreAskedAtOnce: services of several limits are asked at the same time: none of these answers before all
// have been asked. The first that refuses decides, and the others are not waited for.
func TestLimitServicesAreAskedAtOnce(t *testing.T) {
	const n = 3
	arrived, all := make(chan struct{}, n), make(chan struct{})
	together := func(ctx context.Context, _ *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		arrived <- struct{}{}
		select {
		case <-all:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		return &ratelimitv3.RateLimitResponse{OverallCode: codeOK}, nil
	}
	go func() {
		for range n {
			select {
			case <-arrived:
			case <-t.Context().Done():
				return
			}
		}
		close(all)
	}()
	services := []model.Service{program(t, "web", saw)}
	var limits []model.RateLimit
	add := func(id string, decide func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error)) {
		s := newLimitServer(t, decide).service()
		s.Name = name(id)
		s.Endpoints[0].ID = id
		l := patient(model.LimitService{FailClosed: true})
		l.Name, l.Service.Service = id, s.Name
		services, limits = append(services, s), append(limits, l)
	}
	for _, id := range []string{"one", "two", "three"} {
		add(id, together)
	}
	_, at := limitedEdge(t, limits, model.Policy{}, services...)
	if resp, body := ask(t, at, "GET", "/", ""); resp.StatusCode != 200 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}

	given := make(chan struct{})
	services, limits = slices.Clone(services[:1]), nil // the first gateway has the others
	add("silent", func(ctx context.Context, _ *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		<-ctx.Done() // it is given up, long before its 20 s are over
		close(given)
		return nil, ctx.Err()
	})
	add("full", says(&ratelimitv3.RateLimitResponse{OverallCode: codeOver}))
	_, at = limitedEdge(t, limits, model.Policy{}, services...)
	if resp, body := ask(t, at, "GET", "/", ""); resp.StatusCode != 429 || !strings.Contains(body, `"full"`) {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	select {
	case <-given:
	case <-time.After(15 * time.Second):
		t.Error("the question that nobody waits for goes on")
	}
}
