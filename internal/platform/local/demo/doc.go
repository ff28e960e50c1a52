// Package demo starts a sample application in a mesh of its own on this machine, and proves that the mesh
// does what it says.
//
// What runs is a Description (samples/NAME/demo.yaml), not code: services, load, routes and commands to try.
// Everything runs as the user would run it: `weft serve` and one `weft run` per instance are child processes
// of the same executable, with a data directory and socket of their own, so a demo never touches a mesh that
// is already there.
//
// Concurrency: Run owns all goroutines and children it starts, and has ended them when it returns. Children
// also die with the process (PR_SET_PDEATHSIG).
//
// Limits: at most 64 services of 16 replicas; a load job keeps at most 4,096 requests in flight and reports
// at most 100 distinct failures.
package demo
