// Package route decides which rule takes a request, and can say why. Compile turns a service's rules into
// a Table once; Match, Explain, PickBackend and Apply are pure decisions over it. The proxy, the control
// plane's explain and the dry run all call this one implementation.
//
// A Table is immutable: any number of goroutines may use it without locks. Match does not allocate, except
// where it says so.
//
// Order of precedence, unless Options.Ordered (Gateway API, HTTPRouteRule.matches): the most specific host, then an exact path, then
// the longest prefix, then a regular expression, then the prefix "/" (which says nothing about the path);
// then a method, the number of header conditions, the number of query conditions, and last the order of the
// rules and of the matches in them. Where regular expressions stand is left to implementations: they stand
// above "/" so that a default rule beside one does not make it unreachable.
//
// Paths are compared as they were sent, byte for byte and without percent-decoding. The cost of a
// decision does not depend on the number of rules, but on the number of those with the same host and path,
// and on the number of regular expressions for paths.
package route
