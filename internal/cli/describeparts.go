package cli

import (
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// info returns the service NAMESPACE/NAME, or nil.
func (d *description) info(name string) *adminv1.ServiceInfo {
	for _, s := range d.services {
		if s.GetService().GetName() == name {
			return s
		}
	}
	return nil
}

func (d *description) rulesOf(service string) []*discoveryv1.Rule {
	return d.info(service).GetService().GetRules()
}

func (d *description) ruleTable(rules []*discoveryv1.Rule) *table {
	t := newTable("RULE", "MATCHES", "BACKENDS", "SOURCE")
	for _, r := range rules {
		ref := r.GetRef()
		t.add(ruleName(ref), matchText(r.GetMatches()), backendText(r.GetBackends()), orDash(place(ref.GetFile(), ref.GetLine(), 0)))
	}
	return t
}

func ruleName(r *discoveryv1.RuleRef) string {
	if r.GetKind() == "" {
		return "default"
	}
	return fmt.Sprintf("%s/%s rule %d", r.GetNamespace(), r.GetName(), r.GetRule())
}

// matchText writes conditions as one reads them: any of the matches, all parts of each.
func matchText(matches []*discoveryv1.Match) string {
	if len(matches) == 0 {
		return "every request"
	}
	var all []string
	for _, m := range matches {
		var parts []string
		if m.GetMethod() != "" {
			parts = append(parts, m.GetMethod())
		}
		if p := m.GetPath(); p.GetValue() != "" {
			parts = append(parts, "path "+valueText(p))
		}
		for _, h := range m.GetHeaders() {
			parts = append(parts, "header "+h.GetName()+" "+valueText(h))
		}
		for _, q := range m.GetQuery() {
			parts = append(parts, "query "+q.GetName()+" "+valueText(q))
		}
		if len(parts) == 0 {
			parts = []string{"every request"}
		}
		all = append(all, strings.Join(parts, " and "))
	}
	return strings.Join(all, ", or ")
}

func valueText(v *discoveryv1.ValueMatch) string {
	switch v.GetType() {
	case "prefix":
		return v.GetValue() + "*"
	case "regex":
		return "~" + v.GetValue()
	}
	return "=" + v.GetValue()
}

// backendText writes each share in percent.
func backendText(list []*discoveryv1.Backend) string {
	if len(list) == 0 {
		return "none: answers 500"
	}
	var total uint64
	for _, b := range list {
		total += uint64(b.GetWeight())
	}
	var all []string
	for _, b := range list {
		_, name, _ := strings.Cut(b.GetService(), "/")
		if b.GetPort() != 0 {
			name += fmt.Sprintf(":%d", b.GetPort())
		}
		share := 0.0
		if total > 0 {
			share = 100 * float64(b.GetWeight()) / float64(total)
		}
		s := fmt.Sprintf("%s %s%%", name, strings.TrimSuffix(fmt.Sprintf("%.1f", share), ".0"))
		if b.GetInvalid() != "" {
			s += " (answers 500: " + b.GetInvalid() + ")"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// backends returns the services that rules send to, each once.
func backends(rules []*discoveryv1.Rule) []string {
	var names []string
	for _, r := range rules {
		for _, b := range r.GetBackends() {
			if b.GetInvalid() == "" && !slices.Contains(names, b.GetService()) {
				names = append(names, b.GetService())
			}
		}
	}
	return names
}

func (d *description) endpointTable(services []string) *table {
	t := newTable("SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "STATE", "IDENTITY")
	var done []string
	for _, name := range services {
		if slices.Contains(done, name) {
			continue
		}
		done = append(done, name)
		for _, e := range d.info(name).GetEndpoints().GetEndpoints() {
			t.add(name, e.GetId(), e.GetAddress(), orDash(e.GetLabels()["version"]), endpointState(e), orDash(e.GetIdentity()))
		}
	}
	return t
}

// users are the proxies whose programs call one of the services.
func (d *description) users(services []string) *table {
	t := newTable("PROXY", "SERVICE", "REVISION", "STATE")
	for _, p := range d.proxies {
		uses := slices.ContainsFunc(services, func(s string) bool {
			return slices.Contains(p.GetSubscriptions(), "service/"+s) || slices.Contains(p.GetSubscriptions(), s)
		})
		if uses {
			t.add(p.GetNode().GetId(), orDash(p.GetNode().GetService()), fmt.Sprint(p.GetAckedRevision()), proxyState(p))
		}
	}
	return t
}

// listeners shows what became of each listener of a Gateway or ListenerSet.
func (d *description) listeners(r *adminv1.StoredResource) {
	if len(r.GetListeners()) == 0 {
		return
	}
	t := newTable("LISTENER", ">ROUTES", "TYPE", "STATUS", "REASON", "MESSAGE")
	for _, l := range r.GetListeners() {
		for _, c := range l.GetConditions() {
			t.add(l.GetName(), fmt.Sprint(l.GetAttachedRoutes()), c.GetType(), c.GetStatus(), c.GetReason(), c.GetMessage())
		}
	}
	d.section("Listeners", t)
}

// parents shows what became of a route at each of its parents, where there are several: one alone has the conditions of
// the whole.
func (d *description) parents(r *adminv1.StoredResource) {
	if len(r.GetParents()) < 2 {
		return
	}
	t := newTable("PARENT", "PORT", "TYPE", "STATUS", "REASON", "MESSAGE")
	for _, p := range r.GetParents() {
		port := "all"
		if p.GetPort() != 0 {
			port = fmt.Sprint(p.GetPort())
		}
		parent := p.GetKind() + " " + p.GetName()
		if p.GetSection() != "" {
			parent += " " + p.GetSection()
		}
		for _, c := range p.GetConditions() {
			t.add(parent, port, c.GetType(), c.GetStatus(), c.GetReason(), c.GetMessage())
		}
	}
	d.section("Status at each parent", t)
}
