// Package ca is the mesh's certificate authority: a root (ten years) and an intermediate (one year), kept in
// the store and shared by every control plane on it, that sign the SVIDs of workloads (SPIFFE X509-SVID), and
// the join tokens by which a workload's proxy gets its first one.
//
// Private keys are sealed with AES-256-GCM before they leave the process; the sealing key is in a file of mode
// 0600 and never in the store. Each is bound to its certificate, so any change of the stored bytes shows.
//
// A CA is safe for concurrent use. Signing touches no store and no lock: it works while the store is away.
// Run, one goroutine, follows the store and renews the intermediate ahead of its end.
//
// Limits: one trust domain, ECDSA P-256 only; the root is not rotated yet.
package ca
