package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/weft-mesh/weft/internal/model"
)

// TestWaitingBlocksNobody: while many requests wait for a service, others go on at the same loop; then all are answered.
func TestWaitingBlocksNobody(t *testing.T) {
	const waiting = 200
	entered, answer := make(chan struct{}, waiting), make(chan struct{})
	s := newLimitServer(t, func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		entered <- struct{}{}
		<-answer
		return &ratelimitv3.RateLimitResponse{OverallCode: codeOK}, nil
	})
	limit := patient(model.LimitService{Timeout: time.Hour, FailClosed: true})
	limit.Matches = []model.Match{{Path: model.PathMatch{Type: model.Exact, Value: "/asked"}}}
	_, at := limitedEdge(t, []model.RateLimit{limit}, model.Policy{}, program(t, "web", saw), s.service())
	results := make(chan string, waiting)
	c := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range waiting {
		go func() {
			resp, err := c.Get("http://" + at.String() + "/asked")
			if err != nil {
				results <- err.Error()
				return
			}
			resp.Body.Close()
			results <- resp.Status
		}()
	}
	for range waiting {
		within(t, 30*time.Second, "every request is asked about", entered)
	}
	if resp, _ := ask(t, at, "GET", "/free", ""); resp.StatusCode != 200 {
		t.Errorf("a request that is not asked about: %s", resp.Status)
	}
	if len(results) > 0 {
		t.Errorf("a request was answered before the service had: %s", <-results)
	}
	close(answer)
	for range waiting {
		if got := within(t, 30*time.Second, "every request is answered", results); got != "200 OK" {
			t.Errorf("answered %s", got)
		}
	}
}

// TestQuestionsOutliveIdleConnections: a service that closes its idle connections is asked over new ones, also about
// methods that may not be repeated: the question may.
func TestQuestionsOutliveIdleConnections(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.Header().Set("x-asked", fmt.Sprint(asked)) }))
	t.Cleanup(s.Close)
	auth := model.Service{
		Name: name("auth"), Ports: []model.Port{{Number: 80}},
		Endpoints: []model.Endpoint{{ID: "auth-1", Address: addrOf(t, s.Listener), Plain: true}},
	}
	_, at := guardedEdge(t, byHTTP, model.Rule{}, auth, program(t, "web", headersSeen))
	for i := range 20 {
		if resp, body := ask(t, at, "POST", "/", "content"); resp.StatusCode != 200 || body != fmt.Sprintf("/ x-asked=%d content", i+1) {
			t.Fatalf("request %d: %d %q", i, resp.StatusCode, body)
		}
		s.CloseClientConnections()
	}
}
