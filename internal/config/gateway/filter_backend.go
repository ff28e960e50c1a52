package gateway

import (
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// FiltersAt is where the references of filters were written.
type FiltersAt struct {
	Mirrors []Position // of each mirror's name
	Auth    Position   // of the authorization service's, where there is one
}

// backendFilters reads the filters of backend i of a rule, whose own are given. They run after those of the rule, and only
// for what goes to the backend (Gateway API, HTTPBackendRef.filters); what the two cannot both do is a problem.
func (c *checker) backendFilters(r *v1.HTTPRouteRule, i int, ofRule *filterSet, out *Rule, f *document.Field) {
	set := c.filters(r.BackendRefs[i].Filters, f)
	b := &out.Backends[i]
	b.Request, b.Response = set.request, set.response
	if !set.filters.IsZero() {
		b.Filters = &set.filters
	}
	out.BackendFiltersAt = append(out.BackendFiltersAt, FiltersAt{set.mirrorAt, set.authAt})
	if set.prefixAt != nil {
		c.prefixChange(r.Matches, &out.Rule, set.prefixAt)
	}
	c.filterConflicts(ofRule, &set)
}

// filterConflicts reports what a rule and one of its backends cannot both do.
func (c *checker) filterConflicts(rule, own *filterSet) {
	if own.filters.CORS != nil && rule.filters.CORS != nil {
		c.add(own.at[v1.HTTPRouteFilterCORS].Key("type"), "the filter CORS is in the filters of the rule too, which answers preflights for all of its backends", "keep one of them")
	}
	before := rule.filters.Rewrite
	if before == nil {
		return
	}
	if own.filters.Redirect != nil {
		c.add(own.at[v1.HTTPRouteFilterRequestRedirect].Key("type"), "the filter RequestRedirect is beside the URLRewrite of the rule", "a request that is redirected goes nowhere: keep one of them")
	}
	after := own.filters.Rewrite
	if after == nil {
		return
	}
	at := own.at[v1.HTTPRouteFilterURLRewrite].Key("urlRewrite")
	if before.Host != "" && after.Host != "" {
		c.add(at.Key("hostname"), "the URLRewrite of the rule changes the host too", "keep one of them: write the rule's into each of its backends")
	}
	if before.Path != nil && after.Path != nil {
		c.add(at.Key("path"), "the URLRewrite of the rule changes the path too", "keep one of them: write the rule's into each of its backends")
	}
}
