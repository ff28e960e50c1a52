package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

const (
	askTimeout      = 2 * time.Second // for a proxy to answer
	maxAskedProxies = 8               // of a client
	maxAskedFor     = 100             // services
)

// Conditions asks the proxies of a client, those of this control plane and of the others, what they have learnt about
// the endpoints of services. A proxy that cannot be asked is there with the reason.
func (a *admin) Conditions(ctx context.Context, req *connect.Request[adminv1.ConditionsRequest]) (*connect.Response[adminv1.ConditionsResponse], error) {
	var services []model.ServiceName
	for _, text := range req.Msg.GetServices() {
		var n model.ServiceName
		if err := n.UnmarshalText([]byte(text)); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		services = append(services, n)
	}
	if len(services) > maxAskedFor {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%d services; at most %d can be asked about at a time", len(services), maxAskedFor))
	}
	return connect.NewResponse(&adminv1.ConditionsResponse{Proxies: a.conditions(ctx, req.Msg.GetClient(), services)}), nil
}

// conditions are those of all proxies of a client, by the proxies' IDs.
func (a *admin) conditions(ctx context.Context, client string, services []model.ServiceName) []*adminv1.ProxyConditions {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ids := a.proxiesOf(client)
	out := make([]*adminv1.ProxyConditions, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		out[i] = &adminv1.ProxyConditions{Proxy: id}
		wg.Go(func() {
			pools, err := a.s.xds.Ask(ctx, id, services)
			if out[i].Pools = pools; err != nil {
				out[i].Error = err.Error()
			}
		})
	}
	var elsewhere []*adminv1.ProxyConditions
	req := &adminv1.ConditionsRequest{Client: client}
	for _, n := range services {
		req.Services = append(req.Services, n.String())
	}
	for _, r := range fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.ConditionsResponse, error) {
		resp, err := c.Conditions(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}) {
		elsewhere = append(elsewhere, r.GetProxies()...)
	}
	wg.Wait()
	out = append(out, elsewhere...)
	slices.SortFunc(out, func(a, b *adminv1.ProxyConditions) int { return cmp.Compare(a.GetProxy(), b.GetProxy()) })
	return out
}

// proxiesOf returns the IDs of the proxies that are connected here and stand beside a client: NAMESPACE/SERVICE, or
// the ID of one.
func (a *admin) proxiesOf(client string) []string {
	var ids []string
	for _, p := range a.s.xds.Proxies() {
		id := p.Node.GetId()
		if id == client || p.Node.GetService() != "" && p.Identity.Namespace+"/"+p.Node.GetService() == client {
			ids = append(ids, id)
		}
	}
	return ids[:min(len(ids), maxAskedProxies)]
}

// ask tells what the client's proxies know about the endpoints that the explanation came by.
func (e *explanation) ask(ctx context.Context, a *admin, client string) {
	const stage = "now"
	if len(e.asked) == 0 || client == "" {
		if len(e.asked) > 0 {
			e.step(stage, true, "any client", "say which with --from, to see the endpoints that its proxy leaves out", model.RuleRef{})
		}
		return
	}
	all := a.conditions(ctx, client, e.asked)
	if len(all) == 0 {
		e.step(stage, false, client, "no proxy of this client is connected: its ejected endpoints and retry budgets are not known", model.RuleRef{})
	}
	for _, p := range all {
		if p.GetError() != "" {
			e.step(stage, false, "proxy "+p.GetProxy(), "could not be asked for ejected endpoints and retry budgets: "+p.GetError(), model.RuleRef{})
			continue
		}
		none := true
		for _, pool := range p.GetPools() {
			if pool.GetDatagrams() != e.udp {
				continue
			}
			none = e.pool("proxy "+p.GetProxy(), pool, time.Now()) && none
		}
		if none {
			e.step(stage, true, "proxy "+p.GetProxy(), "leaves no endpoint out", model.RuleRef{})
		}
	}
}

// pool shows one pool as a proxy knows it, and reports whether it leaves no endpoint out.
func (e *explanation) pool(proxy string, p *discoveryv1.PoolState, now time.Time) (none bool) {
	of := p.GetService()
	if len(p.GetSubset()) > 0 {
		of += fmt.Sprintf(" (subset %v)", p.GetSubset())
	}
	if p.GetPort() != 0 {
		of += fmt.Sprintf(" (port %d)", p.GetPort())
	}
	for _, x := range p.GetOut() {
		how := fmt.Sprintf("%s leaves %s of %s out: %s", proxy, x.GetId(), of, x.GetState())
		if x.GetUntil() != nil {
			at := x.GetUntil().AsTime()
			how = fmt.Sprintf("%s until %s", how, at.Format("15:04:05.000"))
			if left := at.Sub(now); left > 0 {
				how += fmt.Sprintf(" (%s)", left.Round(time.Millisecond))
			}
		}
		if p.GetLoops() > 1 {
			how += fmt.Sprintf(", at %d of %d event loops", x.GetLoops(), p.GetLoops())
		}
		e.step("now", false, how, x.GetReason(), model.RuleRef{})
	}
	if b := p.GetBudget(); b != nil {
		e.step("now", b.GetLeft() > 0, fmt.Sprintf("%s, retry budget of %s", proxy, of), fmt.Sprintf("%d retries left: %.4g%% of %d requests in %s, %d retries made, %d refused so far",
			b.GetLeft(), 100*b.GetRatio(), b.GetRequests(), b.GetWindow().AsDuration(), b.GetRetries(), b.GetRefused()), model.RuleRef{})
	}
	return len(p.GetOut()) == 0
}
