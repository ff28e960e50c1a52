// Package balance decides which endpoint takes a request, and can say why: least request, round robin, random,
// peak EWMA, ring hash and maglev; weights and their warm-up; localities, priorities, spill and panic. It is pure:
// no clock, no I/O; time, randomness, load and health are its caller's, so the same choice can be made again to
// explain it.
//
// New compiles a model.Balance and the endpoints to a Set ahead of the requests; Set.Pick chooses and allocates
// nothing.
//
// Tables (Ring, MaglevTable) and functions may be used by any number of goroutines. A Set and an EWMA belong to
// one event loop; Set.Clone makes another that shares the tables.
//
// Limits: MaxTable entries in a table, besides one for each endpoint. A weight of 0 counts as 1.
package balance
