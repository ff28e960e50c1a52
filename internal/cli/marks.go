package cli

import "strings"

// marks tell good from bad in one glance.
type marks struct{ ok, no, warn string }

// fancy reports whether Stdout shows more than ASCII: a terminal with a UTF-8 locale.
func (a *App) fancy() bool {
	if !a.o.Terminal {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // locale(7): the first that is set decides
		if v := a.o.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

func (a *App) marks() marks {
	if !a.fancy() {
		return marks{"ok", "no", "!!"}
	}
	return marks{"√", "×", "‼"}
}
