// Command bench measures Weft beside nginx, HAProxy and Envoy: the same work for each in turn, interleaved,
// on loopback, in one run. `make bench` runs it; README.md says how the figures come about and how to read
// them.
//
// It starts everything it needs in a directory of its own and ends it again. Load and some of the servers are
// child processes of the same program, so that only the proxies' time is counted.
package main
