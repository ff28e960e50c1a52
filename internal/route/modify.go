package route

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Apply changes the head as the modification says: Set, then Add, then Remove. The head borrows the
// modification's strings. "host" of a request is its authority, which can be replaced but not removed.
func Apply(mod *model.HeaderMod, h *message.Head) {
	request := h.Status == 0
	for i := range mod.Set {
		f := &mod.Set[i]
		if request && f.Name == "host" {
			h.Authority = f.Value
			continue
		}
		h.Set(f.Name, f.Value)
	}
	for i := range mod.Add {
		f := &mod.Add[i]
		if request && f.Name == "host" {
			continue // a request has one (RFC 9112, section 3.2)
		}
		h.Add(f.Name, f.Value)
	}
	for _, name := range mod.Remove {
		h.Del(name)
	}
}

// checkRule refuses modifications that would break the framing of a message, whatever their source.
func checkRule(r *model.Rule) error {
	if err := checkMod("request", &r.Request); err != nil {
		return err
	}
	if err := checkMod("response", &r.Response); err != nil {
		return err
	}
	for i := range r.Backends {
		if err := checkMod(fmt.Sprintf("backends[%d].request", i), &r.Backends[i].Request); err != nil {
			return err
		}
	}
	return nil
}

func checkMod(field string, m *model.HeaderMod) error {
	for i, f := range m.Set {
		if err := checkField(f); err != nil {
			return fmt.Errorf("%s.set[%d]: %w", field, i, err)
		}
	}
	for i, f := range m.Add {
		if err := checkField(f); err != nil {
			return fmt.Errorf("%s.add[%d]: %w", field, i, err)
		}
	}
	return nil
}

func checkField(f model.HeaderValue) error {
	if !isLowerToken(f.Name) {
		return fmt.Errorf("%q is not a field name in lower case (RFC 9110, section 5.1)", f.Name)
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "trailer":
		return fmt.Errorf("%q frames the message and cannot be written by a rule", f.Name)
	}
	for i := range len(f.Value) {
		if c := f.Value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("%s: value has the control character %q", f.Name, c)
		}
	}
	return nil
}

func isLowerToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
