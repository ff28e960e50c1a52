// Command weft-proxy is the data plane alone: the sidecar of one workload. It is flags and wiring; the
// engine is internal/proxy, what surrounds it internal/agent. It runs thousands of times, so it links no
// Kubernetes, etcd, eBPF or Envoy code.
package main
