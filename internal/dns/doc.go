// Package dns answers the names of the mesh's services with their virtual addresses and hands every other
// question to the machine's own name server, unchanged (RFC 1035, RFC 2308 for negative answers, RFC 6891).
//
// For a service reviews in namespace default, asked from there, it knows reviews, reviews.default,
// reviews.default.mesh, reviews.default.svc and reviews.default.svc.cluster.local. The mesh has IPv4
// virtual addresses only: AAAA is answered with no data, so that programs go on to A at once. A service's name
// with a search suffix appended (reviews.localdomain) does not exist, and is said not to exist at once, so that
// the resolver's search goes on to the name itself.
//
// One goroutine per question, at most 1,024 at a time (further datagrams are dropped, as a full socket would);
// at most 256 questions wait for the name server at a time, further ones are answered SERVFAIL; at most 128 TCP
// connections.
package dns
