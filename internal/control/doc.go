// Package control is the control plane: it keeps resources and endpoints in the store, compiles them, brings
// every proxy to the result and answers the API.
//
// One watch of the store feeds one loop (state.go), which compiles (config.Compile) and publishes
// (xds.Server). All state is rebuilt from the store at the start, so a restart loses nothing, and control
// planes on one store serve the same mesh; for what only another one knows (its proxies, their telemetry)
// they ask each other (peers.go).
//
// Concurrency: a Server's parts run under one errgroup; handlers are called concurrently. state guards its
// maps with one lock and hands out copies. A failure of the store keeps the last state.
//
// Each change is stored with its entry of the history (history.go), from which rollback.go takes it back. A guard
// (guards.go, guardrun.go) is run by the control plane that holds its leased key.
//
// Rate limits for all proxies are counted by one control plane each (quota.go), which quotaowner.go finds.
//
// Limits: those of package document for what is applied, 120 resources changed by one call, 200 changes of 30 days
// and 32 MiB kept, 100 guards at a time, 20,000 proxies,
// 50,000 series, 10,000 remembered tap events.
package control
