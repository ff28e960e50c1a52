package control

import (
	"strings"
	"testing"
	"time"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// TestExplainServicesThatAreAsked: explain says who is asked, for how long, and what comes without an answer.
func TestExplainServicesThatAreAsked(t *testing.T) {
	limits, auth := model.ServiceName{Namespace: "infra", Name: "limits"}, model.ServiceName{Namespace: "infra", Name: "auth"}
	rule := &model.Rule{Filters: model.Filters{Auth: &model.ExternalAuth{GRPC: true, Service: auth, Port: 9191, MaxBody: 100}}}
	policy := &model.Policy{Limits: []model.RateLimit{
		{Name: "open", Service: &model.LimitService{Service: limits, Port: 8081, Domain: "shop"}},
		{Name: "closed", Service: &model.LimitService{Service: limits, Port: 8081, Domain: "shop", Timeout: time.Second, FailClosed: true}},
		{Name: "nobody", Service: &model.LimitService{Service: limits, Invalid: "BackendNotFound: no such service"}},
	}}
	e := &explanation{out: &adminv1.ExplainResponse{}}
	e.rule(rule)
	rule.Filters.Auth.Invalid = "BackendNotFound: no such service"
	if !e.rule(rule) || !strings.HasPrefix(e.out.Outcome, "500 by ") {
		t.Errorf("the outcome without a service to ask is %q", e.out.Outcome)
	}
	e.policy(policy)
	var got []string
	for _, s := range e.out.Steps {
		got = append(got, s.GetSubject()+": "+s.GetReason())
	}
	want := []string{
		"infra/auth: is asked first by gRPC (ext_authz), port 9191, and has 5s; without its answer requests are answered 503; content over 100 bytes is answered 413",
		"infra/auth: requests are answered 500: nobody can be asked: BackendNotFound: no such service",
		"rate limit open: infra/limits is asked first (port 8081, domain shop) and has 100ms; without its answer requests pass",
		"rate limit closed: infra/limits is asked first (port 8081, domain shop) and has 1s; without its answer requests are answered 503",
		"rate limit nobody: requests pass: nobody can be asked: BackendNotFound: no such service",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("explained\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
