package istio

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ParseDestinationRule checks a DestinationRule. When the problems Failed it must not be used.
func ParseDestinationRule(d *document.Document) (*DestinationRule, document.Problems) {
	c, in, ok := parse[destinationRule](d)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &DestinationRule{Namespace: d.Namespace, Subsets: map[string]Subset{}}
	if c.host(in.Host, spec.Key("host")) {
		out.Host = Host{Name: strings.ToLower(in.Host), At: c.position(spec.Key("host"))}
	}
	out.ExportTo = c.exportTo(in.ExportTo, spec.Key("exportTo"))
	if s, at := in.WorkloadSelector, spec.Key("workloadSelector"); s != nil {
		if out.Selector = s.MatchLabels; len(out.Selector) == 0 {
			c.add(at.Key("matchLabels"), "is missing or empty", "write the labels of the clients, or remove workloadSelector: the rule is then for all")
		}
		c.labels(out.Selector, at.Key("matchLabels"))
	}
	out.Traffic = c.traffic(in.TrafficPolicy, spec.Key("trafficPolicy"))
	c.atMost(len(in.Subsets), maxItems, "subsets", spec.Key("subsets"))
	for i := range in.Subsets {
		s, at := &in.Subsets[i], spec.Key("subsets").Index(i)
		_, twice := out.Subsets[s.Name]
		switch {
		case s.Name == "":
			c.add(at.Key("name"), "is missing or empty", "routes name a subset by it")
			continue
		case document.CheckSubdomain(strings.ToLower(s.Name)) != "":
			c.add(at.Key("name"), fmt.Sprintf("%q is no valid name", clip(s.Name)), "wants letters, digits, - and .")
			continue
		case twice:
			c.add(at.Key("name"), fmt.Sprintf("the subset %q is here twice", clip(s.Name)), "names of subsets are unique")
			continue
		}
		c.labels(s.Labels, at.Key("labels"))
		out.Subsets[s.Name] = Subset{Labels: s.Labels, Traffic: c.traffic(s.TrafficPolicy, at.Key("trafficPolicy")), At: c.position(at.Key("name"))}
	}
	return out, c.problems
}

// traffic reads a trafficPolicy.
func (c *checker) traffic(in *trafficPolicy, f *document.Field) (out Traffic) {
	if in == nil {
		return out
	}
	out = c.portTraffic(in.LoadBalancer, in.ConnectionPool, in.OutlierDetection, in.TLS, f)
	up := out.Upstream
	if up == nil {
		up = &model.Upstream{Ref: c.policyRef(f)}
	}
	if p := in.ProxyProtocol; p != nil {
		version := p.Version
		if c.enum(&version, []string{"V1", "V2"}, f.Key("proxyProtocol").Key("version")) {
			up.ProxyHeader, out.Upstream = int(version[1]-'0'), up
		}
	}
	if in.Tunnel != nil {
		up.Tunnel, out.Upstream = c.tunnel(in.Tunnel, f.Key("tunnel")), up
		out.TunnelAt = c.position(f.Key("tunnel"))
	}
	if b := in.RetryBudget; b != nil {
		up.Budget, out.Upstream = c.budget(b, f.Key("retryBudget")), up
	}
	c.atMost(len(in.PortLevelSettings), maxItems, "ports", f.Key("portLevelSettings"))
	for i := range in.PortLevelSettings {
		p, at := &in.PortLevelSettings[i], f.Key("portLevelSettings").Index(i)
		if p.Port == nil {
			c.add(at.Key("port"), "is missing", "write port: {number: ...}")
			continue
		}
		out.Ports = append(out.Ports, PortTraffic{
			Port:    c.wantedPort(p.Port.Number, at.Key("port").Key("number")),
			Traffic: c.portTraffic(p.LoadBalancer, p.ConnectionPool, p.OutlierDetection, p.TLS, at),
			At:      c.position(at.Key("port").Key("number")),
		})
	}
	return out
}

// tunnel reads where forward proxies lead to.
func (c *checker) tunnel(in *tunnelSettings, f *document.Field) *model.Tunnel {
	protocol := in.Protocol
	c.enum(&protocol, []string{"CONNECT", "POST"}, f.Key("protocol"))
	out := &model.Tunnel{Post: protocol == "POST", Host: strings.ToLower(in.TargetHost), Port: c.wantedPort(in.TargetPort, f.Key("targetPort"))}
	if _, err := netip.ParseAddr(out.Host); err != nil {
		if why := document.CheckSubdomain(out.Host); why != "" {
			c.add(f.Key("targetHost"), fmt.Sprintf("%q is no DNS name or IP address", clip(in.TargetHost)), why)
		}
	}
	return out
}

func (c *checker) policyRef(f *document.Field) model.PolicyRef {
	return model.PolicyRef{Kind: c.doc.Kind, Namespace: c.doc.Namespace, Name: c.doc.Name, File: c.doc.File, Line: c.doc.LineOf(f)}
}

// portTraffic reads what can also be said of a single port.
func (c *checker) portTraffic(lb *loadBalancer, pool *connectionPool, outlier *outlierDetection, tls *clientTLS, f *document.Field) (out Traffic) {
	up := &model.Upstream{Ref: c.policyRef(f)}
	said := false
	if lb != nil {
		up.Balance, said = c.balance(lb, f.Key("loadBalancer")), true
	}
	if pool != nil {
		up.Connections, said = c.pool(pool, f.Key("connectionPool")), true
	}
	if outlier != nil {
		up.Ejection, said = c.ejection(outlier, f.Key("outlierDetection")), true
	}
	if tls != nil {
		c.clientTLS(tls, up, &out, f.Key("tls"))
		said = said || up.TLS != nil
	}
	if said {
		out.Upstream = up
	}
	return out
}

// budget reads a RetryBudget: 20% and at least 3 at a time where it does not say otherwise.
func (c *checker) budget(in *retryBudget, f *document.Field) *model.RetryBudget {
	out := &model.RetryBudget{Ratio: 0.2, MinInFlight: 3, Window: of(in.BudgetInterval)}
	if in.Percent != nil {
		out.Ratio = c.share(&percent{*in.Percent}, f.Key("percent"))
	}
	if n := in.MinRetryConcurrency; n != nil {
		if *n > 1_000_000 {
			c.add(f.Key("minRetryConcurrency"), fmt.Sprintf("wants an integer 0 to 1000000, has %d", *n), "")
			return out
		}
		out.MinInFlight = int(*n)
	}
	return out
}

// ejection reads an OutlierDetection with Istio's defaults: 5 answers 5xx, 30 s, a tenth of the endpoints.
func (c *checker) ejection(in *outlierDetection, f *document.Field) *model.Ejection {
	c.refuseAny(f, "OutlierDetection", "consecutiveErrors")
	c.idleAny(f, "OutlierDetection", "interval")
	count := func(n *uint32, otherwise int, name string) int {
		switch {
		case n == nil:
			return otherwise
		case *n > 1_000_000:
			c.add(f.Key(name), fmt.Sprintf("wants an integer 0 to 1000000, has %d", *n), "")
			return otherwise
		}
		return int(*n)
	}
	out := &model.Ejection{
		Consecutive5xx:     count(in.Consecutive5xxErrors, 5, "consecutive5xxErrors"),
		ConsecutiveGateway: count(in.ConsecutiveGatewayErrors, 0, "consecutiveGatewayErrors"),
		Base:               defaultEjection, Max: maxEjection, MaxShare: 0.1,
	}
	if in.SplitExternalLocalOriginErrors {
		out.ConsecutiveLocal = count(in.ConsecutiveLocalOriginFailures, 5, "consecutiveLocalOriginFailures")
	} else if in.ConsecutiveLocalOriginFailures != nil {
		c.add(f.Key("consecutiveLocalOriginFailures"), "counts only with splitExternalLocalOriginErrors: true", "write it too, or remove this")
	}
	if in.BaseEjectionTime != nil {
		if out.Base = in.BaseEjectionTime.Duration; out.Base == 0 {
			c.add(f.Key("baseEjectionTime"), "is zero", "write at least 1ms")
		}
		out.Max = max(out.Max, out.Base)
	}
	if c.doc.Has(f.Key("maxEjectionPercent")) {
		out.MaxShare = c.share(&percent{float64(in.MaxEjectionPercent)}, f.Key("maxEjectionPercent"))
		if in.MaxEjectionPercent == 0 {
			// Nobody may be ejected. In the model 0 is the default, so nothing is looked at instead.
			out.Consecutive5xx, out.ConsecutiveGateway, out.ConsecutiveLocal = 0, 0, 0
		}
	}
	codes := f.Key("outlierDetectionHttpErrorCodes")
	c.atMost(len(in.OutlierDetectionHTTPErrorCodes), maxItems, "statuses", codes)
	for i, n := range in.OutlierDetectionHTTPErrorCodes {
		if n < 100 || n > 599 {
			c.add(codes.Index(i), fmt.Sprintf("wants a status 100 to 599, has %d", n), "")
			continue
		}
		out.Statuses = append(out.Statuses, int(n))
	}
	out.MinHealthy = c.share(&percent{float64(in.MinHealthPercent)}, f.Key("minHealthPercent"))
	return out
}
