// Package gateway is the Gateway API dialect (v1.6, its experimental channel too): it checks HTTPRoute, GRPCRoute,
// TLSRoute, TCPRoute, UDPRoute, ReferenceGrant and core Service documents as their schemas and CEL rules do, and
// turns routes into model rules whose backends are still names. For a standalone gateway it checks Gateway,
// ListenerSet, BackendTLSPolicy, EndpointSlice, Namespace, ConfigMap and Secret too; no problem quotes what a Secret
// keeps.
//
// What Weft does not run yet is a problem that names the field, never silence. The package is pure; its
// results are immutable and hold no syntax trees, so that ten thousand routes cost little memory.
package gateway
