// Package istio reads Istio's own resources: VirtualService, DestinationRule, Gateway, ServiceEntry, WorkloadEntry
// and Sidecar of networking.istio.io (v1, v1beta1, v1alpha3; checked against istio.io/api v1.31).
//
// Each parser checks one document and returns what it means in values of the model; names of hosts, subsets and
// gateways stay as written, for the compiler to resolve. Every field of Istio's is known. One that Weft cannot
// honour is a problem that names it, and one without effect is a warning: see Fields, which lists them all.
//
// The package does no I/O, has no state, and its values may be read by any number of goroutines.
package istio
