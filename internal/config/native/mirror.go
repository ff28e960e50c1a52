package native

import (
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Defaults and bounds of mirrorDiff.
const (
	defaultDiffBody    = 64 << 10
	maxDiffBody        = 1 << 20
	defaultDiffSamples = 10
	maxDiffSamples     = 1000
)

func (c *checker) mirrorDiff(m *mirrorDiff, f *document.Field) *model.MirrorDiff {
	out := &model.MirrorDiff{
		MaxBody: c.integer(m.MaxBody, 0, maxDiffBody, defaultDiffBody, f.Key("maxBody")),
		Samples: c.integer(m.Samples, 0, maxDiffSamples, defaultDiffSamples, f.Key("samples")),
	}
	at := f.Key("headers")
	c.atMost(len(m.Headers), maxItems, "headers", at)
	seen := map[string]bool{}
	for i, h := range m.Headers {
		name := strings.ToLower(h)
		if !c.token(h, "header", at.Index(i)) {
			continue
		}
		if seen[name] {
			c.add(at.Index(i), "is here twice", "write it once")
			continue
		}
		seen[name] = true
		out.Headers = append(out.Headers, name)
	}
	return out
}
