// Package identity is a proxy's side of identity: it obtains an X.509 SVID with a join token, renews it at
// half its life, and makes the tls.Configs with which proxies of one trust domain trust each other
// (SPIFFE X509-SVID; TLS 1.3, RFC 8446).
//
// A Source is safe for concurrent use. What it holds is one immutable SVID behind an atomic pointer: a
// handshake reads it once, so rotation touches no connection that lives. One goroutine, the caller's in
// Run, does all the work; the package starts no other of its own.
//
// It must stay small, for weft-proxy links it: the standard library, the Connect client and model.
package identity
