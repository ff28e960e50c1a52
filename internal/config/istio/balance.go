package istio

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Istio's defaults of ejection: baseEjectionTime, and Envoy's bound of what it grows to.
const (
	defaultEjection = 30 * time.Second
	maxEjection     = 300 * time.Second
)

// Bounds of hash tables, as Envoy has them.
const (
	maxRingSize    = 8 << 20
	maxMaglevTable = 5_000_011
)

// maxAggression bounds the pace of warm-up: beyond it an endpoint is warm at once.
const maxAggression = 1000

func (c *checker) balance(in *loadBalancer, f *document.Field) (out model.Balance) {
	c.refuseAny(f, "LoadBalancerSettings", "zoneAwareLbSetting")
	c.oneOf(f, "simple", "consistentHash")
	c.oneOf(f, "warmup", "warmupDurationSecs")
	switch {
	case in.Simple != nil:
		out.Algorithm = c.simple(*in.Simple, f.Key("simple"))
	case in.ConsistentHash != nil:
		c.hash(in.ConsistentHash, &out, f.Key("consistentHash"))
	default:
		out.Algorithm = model.LeastRequest
	}
	out.WarmUp = of(in.WarmupDurationSecs)
	if w := in.Warmup; w != nil {
		at := f.Key("warmup")
		if w.Duration == nil {
			c.add(at.Key("duration"), "is missing", "write a duration such as 60s")
		}
		out.WarmUp = of(w.Duration)
		if w.MinimumPercent != nil {
			from := c.share(&percent{*w.MinimumPercent}, at.Key("minimumPercent"))
			out.WarmUpFrom = &from
		}
		if a := w.Aggression; a != nil {
			if out.WarmUpAggression = *a; !(*a > 0 && *a <= maxAggression) {
				c.add(at.Key("aggression"), fmt.Sprintf("wants a number above 0, %g at most, has %g", float64(maxAggression), *a), "the default is 1.0, a straight line")
			}
		}
	}
	if out.WarmUp > 0 && (out.Algorithm == model.RingHash || out.Algorithm == model.Maglev || out.Algorithm == model.Random) {
		at := f.Key("warmup")
		if in.Warmup == nil {
			at = f.Key("warmupDurationSecs")
		}
		c.add(at, "works with ROUND_ROBIN and LEAST_REQUEST only", "choose one of them, or remove it")
	}
	if in.LocalityLbSetting != nil {
		out.Locality = c.locality(in.LocalityLbSetting, f.Key("localityLbSetting"))
	}
	return out
}

func (c *checker) simple(s string, f *document.Field) model.Algorithm {
	if !c.enum(&s, []string{"UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"}, f) {
		return ""
	}
	switch s {
	case "RANDOM":
		return model.Random
	case "ROUND_ROBIN":
		return model.RoundRobin
	case "PASSTHROUGH":
		c.add(f, "PASSTHROUGH is not supported in this version of Weft: an endpoint is always chosen", "write LEAST_REQUEST")
	}
	return model.LeastRequest
}

func (c *checker) hash(in *hashLB, out *model.Balance, f *document.Field) {
	c.oneOf(f, "httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
	c.oneOf(f, "ringHash", "maglev")
	var key model.HashKey
	switch {
	case in.HTTPHeaderName != nil:
		key.Header = strings.ToLower(*in.HTTPHeaderName)
		if !isToken(key.Header) {
			c.add(f.Key("httpHeaderName"), fmt.Sprintf("%q is no field name", clip(key.Header)), "wants letters, digits and - (RFC 9110, section 5.1)")
		}
	case in.HTTPCookie != nil:
		at := f.Key("httpCookie")
		key.Attributes = c.cookieAttributes(in.HTTPCookie.Attributes, at.Key("attributes"))
		key.Cookie, key.Path, key.TTL = in.HTTPCookie.Name, in.HTTPCookie.Path, of(in.HTTPCookie.TTL)
		if !isToken(strings.ToLower(key.Cookie)) {
			c.add(at.Key("name"), fmt.Sprintf("%q is no name of a cookie", clip(key.Cookie)), "wants letters, digits, - and _ (RFC 6265, section 4.1.1)")
		}
		if strings.ContainsFunc(key.Path, func(r rune) bool { return r <= ' ' || r == ';' || r > '~' }) {
			c.add(at.Key("path"), fmt.Sprintf("%q is no path of a cookie", clip(key.Path)), "write one that begins with a slash and has no semicolon")
		}
	case in.UseSourceIP != nil && *in.UseSourceIP:
		key.Source = true
	case in.HTTPQueryParameterName != nil && *in.HTTPQueryParameterName != "":
		key.Query = *in.HTTPQueryParameterName
	default:
		c.add(f, "names nothing to hash", "write httpHeaderName, httpCookie, httpQueryParameterName or useSourceIp: true")
	}
	out.Hash, out.Algorithm = []model.HashKey{key}, model.RingHash
	size, at := in.MinimumRingSize, f.Key("minimumRingSize")
	switch {
	case in.Maglev != nil:
		out.Algorithm = model.Maglev
		size, at = in.Maglev.TableSize, f.Key("maglev").Key("tableSize")
		if size != nil && (*size < 2 || *size > maxMaglevTable || !new(big.Int).SetUint64(*size).ProbablyPrime(0)) {
			c.add(at, fmt.Sprintf("wants a prime up to %d, has %d", maxMaglevTable, *size), "the default is 65537")
			return
		}
	case in.RingHash != nil && in.RingHash.MinimumRingSize != nil:
		size, at = in.RingHash.MinimumRingSize, f.Key("ringHash").Key("minimumRingSize")
	}
	if size != nil {
		if *size == 0 || *size > maxRingSize {
			c.add(at, fmt.Sprintf("wants an integer 1 to %d, has %d", maxRingSize, *size), "")
			return
		}
		out.TableSize = int(*size)
	}
}

// locality reads how near endpoints are preferred: nearest first where nothing else is said.
func (c *checker) locality(in *localityLB, f *document.Field) *model.Locality {
	out := &model.Locality{Priorities: in.FailoverPriority}
	if c.oneOf(f, "distribute", "failover") {
		c.oneOf(f, "distribute", "failoverPriority")
	}
	for i, p := range in.FailoverPriority {
		if p == "" {
			c.add(f.Key("failoverPriority").Index(i), "is empty", "write a label")
		}
	}
	for i, x := range in.Failover {
		at := f.Key("failover").Index(i)
		if x.From == "" || x.To == "" || x.From == x.To || strings.ContainsAny(x.From+x.To, "/*") {
			c.add(at, "wants two different regions in from and to", "")
			continue
		}
		out.Failover = append(out.Failover, model.Failover{From: x.From, To: x.To})
	}
	for i, x := range in.Distribute {
		at := f.Key("distribute").Index(i)
		total, share := uint32(0), map[string]float64{}
		for _, to := range slices.Sorted(maps.Keys(x.To)) {
			if x.To[to] > 100 {
				c.add(at.Key("to").Key(to), fmt.Sprintf("wants a percentage 0 to 100, has %d", x.To[to]), "")
				return out
			}
			total += x.To[to]
			share[to] = float64(x.To[to]) / 100
		}
		switch {
		case x.From == "":
			c.add(at.Key("from"), "is missing", `write a locality such as "region/zone/*"`)
		case total != 100:
			c.add(at.Key("to"), fmt.Sprintf("adds up to %d, not 100", total), "write percentages that add up to 100")
		}
		out.Distribute = append(out.Distribute, model.LocalityShare{From: x.From, To: share})
	}
	if in.Enabled != nil && !*in.Enabled {
		return &model.Locality{}
	}
	out.Prefer = len(out.Distribute) == 0
	return out
}

// cookieAttributes reads the attributes of a cookie that is set.
func (c *checker) cookieAttributes(in []cookieAttribute, f *document.Field) []model.CookieAttribute {
	const most = 16
	c.atMost(len(in), most, "attributes", f)
	var out []model.CookieAttribute
	for i, a := range in {
		if why, remedy := document.CheckCookieAttribute(a.Name, a.Value); why != "" {
			c.add(f.Index(i), why, remedy)
			continue
		}
		out = append(out, model.CookieAttribute{Name: a.Name, Value: a.Value})
	}
	return out
}
