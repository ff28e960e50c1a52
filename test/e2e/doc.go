// Package e2e holds the black-box tests: the programs in bin/ as users run them, with real clients and
// servers in several languages. `make e2e` builds and runs them; they need root for capture by eBPF, and
// skip what needs a program that is not installed.
package e2e
