// Package arch holds the tests that keep the house in order: which package may import which and why, what may
// not be called where, how large files, functions and weft-proxy may be, and that every directory says what
// it is for. It has no code of its own.
//
// A rule that is in the way is changed here, with its reason, in the same commit; single exceptions are in
// the allow lists with theirs.
package arch
