package gateway

import (
	"fmt"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// mirror reads a mirror: of every request when no share is said (Gateway API, HTTPRequestMirrorFilter).
func (c *checker) mirror(in *v1.HTTPRequestMirrorFilter, f *document.Field) model.Mirror {
	out := model.Mirror{Share: 1}
	out.Service, out.Port = c.serviceRef(&in.BackendRef, f.Key("backendRef"))
	switch {
	case in.Percent != nil && in.Fraction != nil:
		c.add(f.Key("fraction"), "is given beside percent", "keep one of them")
	case in.Percent != nil:
		if *in.Percent < 0 || *in.Percent > 100 {
			c.add(f.Key("percent"), fmt.Sprintf("wants an integer 0 to 100, has %d", *in.Percent), "")
			return out
		}
		out.Share = float64(*in.Percent) / 100
	case in.Fraction != nil:
		out.Share = c.fraction(in.Fraction, f.Key("fraction"))
	}
	return out
}

// fraction reads a share of 0 to 1; the denominator is 100 when it is not said.
func (c *checker) fraction(in *v1.Fraction, f *document.Field) float64 {
	n, d := in.Numerator, deref(in.Denominator, 100)
	switch {
	case !c.doc.Has(f.Key("numerator")):
		c.add(f.Key("numerator"), "is missing", "write how many of denominator (default 100) are mirrored")
	case n < 0:
		c.add(f.Key("numerator"), fmt.Sprintf("wants an integer from 0, has %d", n), "")
	case d < 1:
		c.add(f.Key("denominator"), fmt.Sprintf("wants an integer from 1, has %d", d), "")
	case n > d:
		c.add(f.Key("numerator"), fmt.Sprintf("%d is more than the denominator %d", n, d), "a share is at most 1")
	default:
		return float64(n) / float64(d)
	}
	return 1
}
