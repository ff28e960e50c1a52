package native

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// maxTable bounds the tables of ring hash and maglev; every proxy that calls the service holds one.
const maxTable = 1 << 20

func algorithms() []string {
	return []string{
		string(model.LeastRequest), string(model.RoundRobin), string(model.Random),
		string(model.PeakEWMA), string(model.RingHash), string(model.Maglev),
	}
}

func (c *checker) balance(b *loadBalancing, f *document.Field) model.Balance {
	out := model.Balance{
		Algorithm: model.Algorithm(c.enum(b.Algorithm, algorithms(), f.Key("algorithm"))),
		Decay:     c.duration(b.Decay, 100*time.Millisecond, time.Hour, f.Key("decay")),
		WarmUp:    c.duration(b.WarmUp, time.Second, maxDuration, f.Key("warmUp")),
		Panic:     c.share(b.PanicThreshold, 0, 100, 0, f.Key("panicThreshold")),
		Hash:      c.hash(b.Hash, f.Key("hash")),
		TableSize: c.integer(b.TableSize, 1, maxTable, 0, f.Key("tableSize")),
	}
	hashes := out.Algorithm == model.RingHash || out.Algorithm == model.Maglev
	switch {
	case hashes && len(b.Hash) == 0:
		c.add(f.Key("hash"), fmt.Sprintf("is missing, and algorithm is %s", out.Algorithm), "write by what to hash, for example hash: [{header: x-user}, {source: true}]")
	case !hashes && len(b.Hash) > 0:
		c.addKey(f.Key("hash"), fmt.Sprintf("is without use for the algorithm %s", out.Algorithm), "write algorithm: ringHash or maglev, or remove it")
	}
	if b.TableSize != nil {
		c.tableSize(&out, f.Key("tableSize"))
	}
	if b.Decay.v != nil && out.Algorithm != model.PeakEWMA {
		c.addKey(f.Key("decay"), fmt.Sprintf("is without use for the algorithm %s", out.Algorithm), "write algorithm: peakEWMA, or remove it")
	}
	c.warmUp(b, &out, f)
	if b.Locality != nil {
		out.Locality = c.locality(b.Locality, f.Key("locality"))
	}
	return out
}

func (c *checker) tableSize(out *model.Balance, f *document.Field) {
	switch n := out.TableSize; {
	case n == 0: // out of bounds, which is reported
	case out.Algorithm == model.RingHash:
	case out.Algorithm != model.Maglev:
		c.addKey(f, fmt.Sprintf("is without use for the algorithm %s", out.Algorithm), "write algorithm: ringHash or maglev, or remove it")
	case !prime(n):
		c.add(f, fmt.Sprintf("%d is no prime number, which maglev needs", n), nearPrimes(n))
	}
}

// prime decides by trial division: n is at most maxTable, so there are at most 1,024 of them.
func prime(n int) bool {
	for i := 2; i*i <= n; i++ {
		if n%i == 0 {
			return false
		}
	}
	return n > 1
}

// nearPrimes words a remedy.
func nearPrimes(n int) string {
	below, above := n, n
	for below > 2 && !prime(below) {
		below--
	}
	for !prime(above) {
		above++
	}
	switch {
	case above > maxTable:
		return fmt.Sprintf("write %d", below)
	case !prime(below):
		return fmt.Sprintf("write %d", above)
	}
	return fmt.Sprintf("write %d or %d", below, above)
}

func (c *checker) hash(in []hashKey, f *document.Field) []model.HashKey {
	c.atMost(len(in), maxItems, "hash keys", f)
	var out []model.HashKey
	for i := range in {
		at, h := f.Index(i), &in[i]
		c.one(at, "header", "cookie", "source", "query")
		c.flag(h.Source, at.Key("source"))
		x := model.HashKey{Source: h.Source}
		if h.Header != nil && c.token(*h.Header, "header", at.Key("header")) {
			x.Header = strings.ToLower(*h.Header)
		}
		if h.Query != nil && c.token(*h.Query, "query parameter", at.Key("query")) {
			x.Query = *h.Query
		}
		if k := h.Cookie; k != nil {
			cookie := at.Key("cookie")
			c.token(k.Name, "cookie", cookie.Key("name"))
			c.cookiePath(k.Path, cookie.Key("path"))
			x.Cookie, x.Path = k.Name, k.Path
			x.Attributes = c.cookieAttributes(k, cookie.Key("attributes"))
			x.TTL = c.duration(k.TTL, time.Second, 365*maxDuration, cookie.Key("ttl"))
		}
		out = append(out, x)
	}
	return out
}

func (c *checker) locality(l *locality, f *document.Field) *model.Locality {
	out := &model.Locality{
		Prefer:     len(l.Distribute) == 0,
		Priorities: l.Priorities,
		Capacity:   c.share(l.Overprovisioning, 100, 1000, 0, f.Key("overprovisioning")),
	}
	if l.Prefer != nil {
		out.Prefer = *l.Prefer
	}
	switch {
	case len(l.Distribute) > 0 && (out.Prefer || len(l.Failover) > 0 || len(l.Priorities) > 0):
		c.addKey(f.Key("distribute"), "gives fixed shares, which leave no choice to prefer, failover and priorities", "remove it or them")
	case !out.Prefer && (len(l.Failover) > 0 || len(l.Priorities) > 0):
		c.add(f.Key("prefer"), "is false, and failover and priorities hold only when near endpoints are preferred", "remove it")
	}
	out.Failover = c.failover(l.Failover, f.Key("failover"))
	c.priorities(l.Priorities, f.Key("priorities"))
	at := f.Key("distribute")
	c.atMost(len(l.Distribute), maxLocalities, "localities", at)
	seen := map[string]bool{}
	for i := range l.Distribute {
		d, item := &l.Distribute[i], at.Index(i)
		c.localityName(d.From, item.Key("from"))
		if seen[d.From] {
			c.add(item.Key("from"), fmt.Sprintf("the locality %q is here twice", clip(d.From)), "write it once")
		}
		seen[d.From] = true
		out.Distribute = append(out.Distribute, model.LocalityShare{From: d.From, To: c.shares(d.To, item.Key("to"))})
	}
	return out
}

func (c *checker) failover(in []failover, f *document.Field) []model.Failover {
	c.atMost(len(in), maxLocalities, "regions", f)
	seen := map[string]bool{}
	var out []model.Failover
	for i, x := range in {
		at := f.Index(i)
		c.region(x.From, at.Key("from"))
		c.region(x.To, at.Key("to"))
		switch {
		case x.From != "" && x.From == x.To:
			c.add(at.Key("to"), fmt.Sprintf("the region %q cannot stand in for itself", clip(x.To)), "write another region")
		case seen[x.From]:
			c.add(at.Key("from"), fmt.Sprintf("the region %q is here twice", clip(x.From)), "one region stands in for it")
		}
		seen[x.From] = true
		out = append(out, model.Failover{From: x.From, To: x.To})
	}
	return out
}

func (c *checker) region(s string, f *document.Field) {
	if strings.ContainsAny(s, "/*") {
		c.add(f, fmt.Sprintf("%q is no region", clip(s)), `write the first part of the locality: "eu-west" of "eu-west/a"`)
		return
	}
	c.localityName(s, f)
}

// localityName wants "region", "region/zone" or "region/zone/subzone"; the last part may be "*".
func (c *checker) localityName(s string, f *document.Field) {
	parts := strings.Split(s, "/")
	bad := len(s) > 256 || len(parts) > 3
	for i, p := range parts {
		star := p == "*" && i == len(parts)-1
		bad = bad || p == "" || !star && strings.ContainsFunc(p, func(r rune) bool {
			return r > '~' || !isAlnum(byte(r)) && r != '-' && r != '_' && r != '.'
		})
	}
	switch {
	case s == "":
		c.add(f, "is missing or empty", `write a locality, for example "eu-west/a"`)
	case bad:
		c.add(f, fmt.Sprintf("%q is no locality", clip(s)), `write "region", "region/zone" or "region/zone/subzone"; "*" may stand for the last part`)
	}
}

// priorities wants names of labels; Istio's form "name=value" is not one.
func (c *checker) priorities(names []string, f *document.Field) {
	c.atMost(len(names), maxItems, "labels", f)
	seen := map[string]bool{}
	for i, n := range names {
		at := f.Index(i)
		prefix, name, ok := strings.Cut(n, "/")
		if !ok {
			prefix, name = "", n
		}
		bad := len(name) > 63 || name == "" || ok && document.CheckSubdomain(prefix) != "" || strings.ContainsFunc(name, func(r rune) bool {
			return r > '~' || !isAlnum(byte(r)) && r != '-' && r != '_' && r != '.'
		})
		switch {
		case bad:
			c.add(at, fmt.Sprintf("%q is no name of a label", clip(n)), `for example "topology.kubernetes.io/zone"`)
		case seen[n]:
			c.add(at, fmt.Sprintf("the label %q is here twice", clip(n)), "write it once")
		}
		seen[n] = true
	}
}

// shares wants percentages that add up to 100.
func (c *checker) shares(in map[string]percent, f *document.Field) map[string]float64 {
	if len(in) == 0 {
		c.add(f, "names no locality", `write shares that add up to 100: {"eu-west/a": 80, "eu-west/b": 20}`)
		return nil
	}
	if !c.atMost(len(in), maxLocalities, "localities", f) {
		return nil
	}
	before := len(c.problems)
	out := make(map[string]float64, len(in))
	sum := 0.0
	for _, to := range slices.Sorted(maps.Keys(in)) {
		at := f.Key(to)
		c.localityName(to, at)
		if in[to].v == nil {
			c.add(at, "is missing", `write a percentage, for example "20%"`)
		}
		out[to] = c.share(in[to], 0, 100, 0, at)
		sum += out[to]
	}
	if len(c.problems) == before && math.Abs(sum-1) > 1e-6 {
		c.add(f, fmt.Sprintf("the shares add up to %g%%", math.Round(sum*1e6)/1e4), "write shares that add up to 100%")
	}
	return out
}
