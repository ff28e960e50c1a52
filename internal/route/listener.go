package route

import "strings"

// HostRank orders the listeners of a socket by how specific their host names are: an exact one before wildcards, the
// longer of these first, and before "", which is every host (Gateway API, Listener.hostname).
func HostRank(listener string) int {
	suffix, wild := strings.CutPrefix(listener, "*")
	switch {
	case listener == "":
		return 0
	case wild:
		return len(suffix)
	}
	return 1 << 16
}

// HostTakes reports whether a listener of that host name is for a host, in any letter case.
func HostTakes(listener, host string) bool {
	suffix, wild := strings.CutPrefix(listener, "*")
	switch {
	case listener == "":
		return true
	case wild:
		cut := len(host) - len(suffix)
		return cut > 0 && strings.EqualFold(host[cut:], suffix)
	}
	return strings.EqualFold(host, listener)
}
