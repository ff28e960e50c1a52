package xds

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// Names of the parts of a gateway.
const (
	prefixPart  = nameGateway + "/"
	prefixRules = prefixPart + "rules/"
	prefixTLS   = prefixPart + "tls/"
	nameClient  = prefixPart + "client"
)

// gatewayEdge is what a gateway runs besides services.
type gatewayEdge struct {
	sockets []model.Socket
	client  *model.Certificate // shown to backends outside the mesh
}

// gatewayResources are the resources of a gateway: one that says what there is, and one for each route at a listener,
// for the certificates of a listener, and for that shown to backends. They hold for one mesh, and are not changed.
type gatewayResources struct {
	byName   map[string]*discoveryv1.Resource
	services []model.ServiceName // that the rules lead to, sorted
	secrets  []string            // that backends of the rules are to be shown

	known map[string][]knownListener // by name
}

// knownListener is a listener whose parts have been made.
type knownListener struct {
	model.Listener
	index uint32 // of Gateway.listeners
}

// has reports whether the parts of the listener are those of another.
func (k *knownListener) has(ln *model.Listener) bool {
	if len(k.Rules) != len(ln.Rules) {
		return false
	}
	if len(ln.Rules) > 0 && &k.Rules[0] != &ln.Rules[0] && !reflect.DeepEqual(k.Rules, ln.Rules) {
		return false // one listener at several addresses has one slice of rules
	}
	return slices.Equal(k.Certificates, ln.Certificates) && k.ClientCA == ln.ClientCA && k.ClientMode == ln.ClientMode &&
		reflect.DeepEqual(k.ClientChecks, ln.ClientChecks)
}

// listenerTLS is the part of a listener that is secret, or beside it.
type listenerTLS struct {
	Certificates []model.Certificate `json:"certificates,omitempty"`
	ClientCA     string              `json:"clientCA,omitempty"`
	ClientMode   model.ClientMode    `json:"clientMode,omitempty"`
	ClientChecks *model.ClientChecks `json:"clientChecks,omitempty"`
}

func newGatewayResources(name model.ServiceName, edge *gatewayEdge) *gatewayResources {
	g := &gatewayResources{byName: map[string]*discoveryv1.Resource{}, known: map[string][]knownListener{}}
	w := &discoveryv1.Gateway{Name: nameText(name)}
	services := map[model.ServiceName]bool{}
	sockets := slices.Clone(edge.sockets)
	for i := range sockets {
		sockets[i].Listeners = slices.Clone(sockets[i].Listeners)
		for j := range sockets[i].Listeners {
			ln := &sockets[i].Listeners[j]
			at := slices.IndexFunc(g.known[ln.Name], func(k knownListener) bool { return k.has(ln) })
			if at < 0 {
				for k := range ln.Rules {
					ln.Rules[k].EachUsed(func(n model.ServiceName) { services[n] = true })
					ln.Rules[k].EachSecret(func(n string) { g.secrets = append(g.secrets, n) })
				}
				at = len(g.known[ln.Name])
				g.known[ln.Name] = append(g.known[ln.Name], knownListener{*ln, uint32(len(w.Listeners))})
				w.Listeners = append(w.Listeners, g.listener(ln, at))
			}
			w.Parts = append(w.Parts, g.known[ln.Name][at].index)
			ln.Rules, ln.Certificates, ln.ClientCA, ln.ClientMode, ln.ClientChecks = nil, nil, "", "", nil
		}
	}
	w.Sockets = jsonToWire(sockets, len(sockets) == 0)
	if edge.client != nil {
		w.Client = nameClient
		g.part(nameClient, &discoveryv1.GatewayPart{Tls: jsonToWire(&listenerTLS{Certificates: []model.Certificate{*edge.client}}, false)})
	}
	g.byName[nameGateway] = seal(nameGateway, &discoveryv1.Resource{Body: &discoveryv1.Resource_Gateway{Gateway: w}})
	for n := range services {
		g.services = append(g.services, n)
	}
	g.known = nil
	slices.SortFunc(g.services, func(a, b model.ServiceName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return g
}

func (g *gatewayResources) part(name string, part *discoveryv1.GatewayPart) {
	g.byName[name] = seal(name, &discoveryv1.Resource{Body: &discoveryv1.Resource_GatewayPart{GatewayPart: part}})
}

// listener makes the parts of a listener, before which there were nth others of its name. Rules in a row that are of one
// route are one part; where the rules of others stand between, each row is.
func (g *gatewayResources) listener(ln *model.Listener, nth int) *discoveryv1.ListenerParts {
	w := &discoveryv1.ListenerParts{Listener: ln.Name}
	if nth > 0 {
		w.Listener = fmt.Sprintf("%s#%d", ln.Name, nth+1)
	}
	rows := map[string]int{}
	for from := 0; from < len(ln.Rules); {
		ref, to := &ln.Rules[from].Ref, from+1
		for to < len(ln.Rules) && sameRoute(ref, &ln.Rules[to].Ref) {
			to++
		}
		name := ref.Kind + "/" + ref.Namespace + "/" + ref.Name
		if rows[name]++; rows[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, rows[name])
		}
		w.Rules = append(w.Rules, name)
		g.part(prefixRules+w.Listener+"/"+name, &discoveryv1.GatewayPart{Rules: jsonToWire(ln.Rules[from:to], false)})
		from = to
	}
	if len(ln.Certificates) > 0 || ln.ClientCA != "" || ln.ClientMode != "" || ln.ClientChecks != nil {
		w.Tls = true
		g.part(prefixTLS+w.Listener, &discoveryv1.GatewayPart{Tls: jsonToWire(&listenerTLS{ln.Certificates, ln.ClientCA, ln.ClientMode, ln.ClientChecks}, false)})
	}
	return w
}

func sameRoute(a, b *model.RuleRef) bool {
	return a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name
}

// edgeFromWire is the inverse of newGatewayResources. Listeners at several addresses share their rules.
func edgeFromWire(w *discoveryv1.Gateway, parts map[string]*discoveryv1.GatewayPart) (*gatewayEdge, error) {
	edge := &gatewayEdge{}
	if err := jsonFromWire(w.GetSockets(), &edge.sockets, "sockets"); err != nil {
		return nil, err
	}
	rest := make([]model.Listener, len(w.GetListeners()))
	for i, l := range w.GetListeners() {
		var err error
		if rest[i], err = listenerFromWire(l, parts); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.GetListener(), err)
		}
	}
	of := w.GetParts()
	for i := range edge.sockets {
		for j := range edge.sockets[i].Listeners {
			ln := &edge.sockets[i].Listeners[j]
			if len(of) == 0 || int(of[0]) >= len(rest) {
				return nil, fmt.Errorf("it is not said which parts listener %s has", ln.Name)
			}
			from := &rest[of[0]]
			of = of[1:]
			ln.Rules, ln.Certificates, ln.ClientCA, ln.ClientMode = from.Rules, from.Certificates, from.ClientCA, from.ClientMode
			ln.ClientChecks = from.ClientChecks
		}
	}
	if w.GetClient() == "" {
		return edge, nil
	}
	tls, err := tlsFromWire(w.GetClient(), parts)
	switch {
	case err != nil:
		return nil, err
	case len(tls.Certificates) != 1:
		return nil, fmt.Errorf("part %q has %d certificates in place of one", w.GetClient(), len(tls.Certificates))
	}
	edge.client = &tls.Certificates[0]
	return edge, nil
}

func listenerFromWire(l *discoveryv1.ListenerParts, parts map[string]*discoveryv1.GatewayPart) (ln model.Listener, err error) {
	for _, name := range l.GetRules() {
		name = prefixRules + l.GetListener() + "/" + name
		if parts[name] == nil {
			return ln, fmt.Errorf("its part %q is missing", name)
		}
		var rules []model.Rule
		if err := jsonFromWire(parts[name].GetRules(), &rules, name); err != nil {
			return ln, err
		}
		ln.Rules = append(ln.Rules, rules...)
	}
	if !l.GetTls() {
		return ln, nil
	}
	tls, err := tlsFromWire(prefixTLS+l.GetListener(), parts)
	if err == nil {
		ln.Certificates, ln.ClientCA, ln.ClientMode, ln.ClientChecks = tls.Certificates, tls.ClientCA, tls.ClientMode, tls.ClientChecks
	}
	return ln, err
}

func tlsFromWire(name string, parts map[string]*discoveryv1.GatewayPart) (out listenerTLS, err error) {
	if parts[name] == nil {
		return out, fmt.Errorf("part %q is missing", name)
	}
	return out, jsonFromWire(parts[name].GetTls(), &out, name)
}
