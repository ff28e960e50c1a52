// Package cli is the command line of Weft: commands, flags, tables and exit statuses.
//
// Commands reach the control plane through the AdminService of api/weft/admin/v1 only, over its unix
// socket or over TLS. What starts processes (serve, run, demo) is given to New as functions, so that this
// package links no control plane, no store and no platform.
//
// Concurrency: an App runs one command, in the goroutine that calls Execute; it reads no global state, so
// any number of Apps may run side by side.
//
// Limits: documents given to one command total 8 MiB, an answer is at most 64 MiB, live views keep 1,000
// rows, completion waits for at most 1 s.
package cli
