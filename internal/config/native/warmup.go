package native

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// maxAggression bounds the pace of warm-up: beyond it an endpoint is warm at once.
const maxAggression = 1000

// warmUp reads how an endpoint comes to its full share.
func (c *checker) warmUp(b *loadBalancing, out *model.Balance, f *document.Field) {
	from, pace := f.Key("warmUpFrom"), f.Key("warmUpAggression")
	if b.WarmUpFrom.v != nil {
		share := c.share(b.WarmUpFrom, 0, 100, 0, from)
		out.WarmUpFrom = &share
	}
	if a := b.WarmUpAggression; a != nil {
		if out.WarmUpAggression = *a; !(*a > 0 && *a <= maxAggression) {
			c.add(pace, fmt.Sprintf("wants a number above 0, %d at most, has %g", maxAggression, *a), "the default is 1, a straight line")
		}
	}
	for _, at := range []*document.Field{from, pace} {
		if b.WarmUp.v == nil && c.doc.Has(at) {
			c.addKey(at, "is without use where warmUp is not written", "write warmUp: 30s, or remove it")
		}
	}
}

// cookieAttributes reads the attributes of a cookie that is set.
func (c *checker) cookieAttributes(k *hashCookie, f *document.Field) []model.CookieAttribute {
	c.atMost(len(k.Attributes), maxItems, "attributes", f)
	if k.TTL.v == nil && len(k.Attributes) > 0 {
		c.addKey(f, "is without use for a cookie that is not set", "write ttl, for example ttl: 1h, or remove it")
	}
	var out []model.CookieAttribute
	for i, a := range k.Attributes {
		if why, remedy := document.CheckCookieAttribute(a.Name, ""); why != "" {
			c.add(f.Index(i).Key("name"), why, remedy)
		} else if why, remedy = document.CheckCookieAttribute(a.Name, a.Value); why != "" {
			c.add(f.Index(i).Key("value"), why, remedy)
		}
		out = append(out, model.CookieAttribute{Name: a.Name, Value: a.Value})
	}
	return out
}
