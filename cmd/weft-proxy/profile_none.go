//go:build !weft_profile

package main

// startProfile does nothing: this build has no profiler.
func startProfile() (stop func(), err error) { return func() {}, nil }
