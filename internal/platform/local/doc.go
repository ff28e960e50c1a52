// Package local runs one program in the mesh on this machine: `weft run`. It gets the program an identity,
// starts its sidecar first and the program next, and ends both in the opposite order; the program's exit
// status is the run's.
//
// A Run owns its two processes, a private runtime directory (token, admin socket) and, with capture by eBPF,
// two control groups. All of it goes when the run ends. When the run is killed instead, the kernel ends both
// processes (PR_SET_PDEATHSIG) and takes the capture away; the directories that remain are removed by the
// next run of the same user. Several runs may be in one process.
//
// Limits: readiness of the sidecar 30 s; the program's grace 30 s and the sidecar's 10 s by default.
package local
