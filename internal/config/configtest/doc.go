// Package configtest is what the tests of the configuration's packages share: files of input with what is expected of
// them, and what a message about a bad document must say. Only tests import it.
//
// Concurrency: its functions are for the goroutine of a test. Limits: none; test data is our own.
package configtest
