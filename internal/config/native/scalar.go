package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
)

// scalar is a value that may be written as a string or a number. It is read first and judged later, when its place
// and bounds are known.
type scalar struct{ v any } // nil (not there), string, json.Number, or anything else that JSON has

// UnmarshalJSON keeps the value as it is.
func (s *scalar) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(&s.v)
}

// words says what was written, for messages.
func (s scalar) words() string {
	switch v := s.v.(type) {
	case string:
		return strconv.Quote(clip(v))
	case json.Number:
		return clip(v.String())
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	}
	return "a mapping"
}

// duration is a Go duration: "250ms", "1m30s". The Gateway API's (GEP-2257) are a part of these.
type duration struct{ scalar }

// percent is a share of a hundred: "20%" or 20.
type percent struct{ scalar }

// code is a status: a number, a name or a range.
type code struct{ scalar }

// maxDuration bounds every duration.
const maxDuration = 24 * time.Hour

// duration returns 0 when d is not there, or not from lo to hi.
func (c *checker) duration(d duration, lo, hi time.Duration, f *document.Field) time.Duration {
	var text string
	switch v := d.v.(type) {
	case nil:
		return 0
	case string:
		text = v
	case json.Number:
		c.add(f, "wants a duration, has the number "+d.words(), fmt.Sprintf(`write it with its unit, for example "%[1]sms" or "%[1]ss"`, clip(v.String())))
		return 0
	default:
		c.add(f, "wants a duration, has "+d.words(), `for example "250ms"`)
		return 0
	}
	x, err := time.ParseDuration(text)
	switch {
	case err != nil || len(text) > 32:
		c.add(f, fmt.Sprintf("%q is no duration", clip(text)), `write numbers with units: "250ms", "10s", "1h30m"`)
		return 0
	case x < lo || x > hi:
		c.add(f, fmt.Sprintf("wants a duration %s to %s, has %q", short(lo), short(hi), clip(text)), "")
		return 0
	}
	return x
}

// short writes a duration without the units that are zero.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// share returns a percentage as a share, or otherwise when it is not there. lo and hi are percentages.
func (c *checker) share(p percent, lo, hi, otherwise float64, f *document.Field) float64 {
	var text string
	switch v := p.v.(type) {
	case nil:
		return otherwise
	case string:
		number, ok := strings.CutSuffix(v, "%")
		if !ok {
			c.add(f, fmt.Sprintf("%q is no percentage", clip(v)), `write for example "20%" or 20`)
			return otherwise
		}
		text = number
	case json.Number:
		text = v.String()
	default:
		c.add(f, "wants a percentage, has "+p.words(), `write for example "20%" or 20`)
		return otherwise
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || len(text) > 16 || strings.Trim(text, "-0123456789.") != "" {
		c.add(f, fmt.Sprintf("%q is no percentage", clip(text)), `write for example "20%" or 20`)
		return otherwise
	}
	if _, number := p.v.(json.Number); number && x > 0 && x < 1 {
		c.add(f, fmt.Sprintf("%g may mean %g%% or %g%%", x, x*100, x), fmt.Sprintf(`write "%g%%" or "%g%%"`, x*100, x))
		return otherwise
	}
	if x < lo || x > hi {
		c.add(f, fmt.Sprintf("wants a percentage %g to %g, has %s", lo, hi, p.words()), "")
		return otherwise
	}
	return x / 100
}
