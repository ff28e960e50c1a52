// Package acme gets certificates for the listeners of a gateway by ACME (RFC 8555) and keeps them renewed. certmagic
// decides when, holds locks and stores; the challenges HTTP-01 and TLS-ALPN-01 (RFC 8737) are answered by whoever runs
// the listeners, to whom they are given as values. It is part of weft, never of weft-proxy.
//
// A Manager has one owner, which calls its methods from one goroutine and is told of changes by a channel; certmagic's
// goroutines end with Close. A challenge is not reported to the CA as ready before the owner has said that its
// answer is in force.
//
// Certificates, keys and the account's key are in a directory of mode 0700. No error or log line quotes a key.
package acme
