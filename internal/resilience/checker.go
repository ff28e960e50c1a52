package resilience

import (
	"cmp"
	"fmt"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	defaultHealthy   = 2
	defaultUnhealthy = 3
)

// Checker follows the active health checks of one endpoint: so many bad answers in a row take it out, so many good
// ones bring it back. The first answer decides alone; until then the endpoint is healthy, so that a new one need not
// wait. It belongs to one event loop.
type Checker struct {
	codes              []model.CodeRange
	healthy, unhealthy int

	known bool
	sick  bool
	row   int // answers in a row that say the opposite of what is held
}

// NewChecker compiles what a check asks for.
func NewChecker(m *model.HealthCheck) *Checker {
	return &Checker{codes: m.Codes, healthy: cmp.Or(m.Healthy, defaultHealthy), unhealthy: cmp.Or(m.Unhealthy, defaultUnhealthy)}
}

// Good reports whether an HTTP status is a good answer: one of the codes, or 200 to 299.
func (c *Checker) Good(status int) bool {
	if len(c.codes) == 0 {
		return status >= 200 && status <= 299
	}
	for _, r := range c.codes {
		if status >= r.From && status <= r.To {
			return true
		}
	}
	return false
}

// Observe takes the result of a check and reports whether it changes what Healthy says.
func (c *Checker) Observe(good bool) (changed bool) {
	if !c.known {
		c.known, c.sick = true, !good
		return c.sick
	}
	if good != c.sick {
		c.row = 0
		return false
	}
	c.row++
	if c.sick && c.row < c.healthy || !c.sick && c.row < c.unhealthy {
		return false
	}
	c.sick, c.row = !c.sick, 0
	return true
}

// Healthy reports whether the endpoint may be chosen.
func (c *Checker) Healthy() bool { return c == nil || !c.sick }

// Explain is one line about the endpoint's health.
func (c *Checker) Explain() string {
	switch {
	case c == nil:
		return "not checked"
	case !c.known:
		return "not checked yet, held to be healthy"
	case c.sick:
		return fmt.Sprintf("unhealthy; %d of the %d good checks in a row that bring it back", c.row, c.healthy)
	}
	return fmt.Sprintf("healthy; %d of the %d bad checks in a row that take it out", c.row, c.unhealthy)
}
