//go:build race

package proxy

// underRace: the race detector makes moving bytes ten times dearer.
const underRace = true
