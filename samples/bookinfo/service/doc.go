// Package service is what the four programs of BookInfo share: how they listen and stop, how they call each
// other, which headers they pass on, and how they answer in JSON. Standard library only, like all of BookInfo.
//
// Concurrency: everything here is safe for concurrent use once made.
//
// Limits: request heads of 64 KiB, bodies of 1 MiB, 64 idle connections per peer.
package service
