package istio

// Refused returns the fields of Istio's that Weft does not honour, by "Message.field", each with the reason. A
// document that has one is refused.
func Refused() map[string]string {
	out := map[string]string{}
	for name, r := range refusals() {
		out[name] = r.message
	}
	return out
}

// WithoutEffect returns the fields that are taken with a warning, or without one where they only name something, each
// with the reason.
func WithoutEffect() map[string]string { return idleFields() }

// Limits returns the fields of which some values are refused, each with what is.
func Limits() map[string]string {
	return map[string]string{
		"VirtualService.hosts":                  "a service without its own rules in the Gateway API; of several VirtualServices for it in the mesh, the oldest",
		"HTTPMatchRequest.headers":              "not the claims of tokens (@request.auth.claims)",
		"HTTPRetry.attempts":                    "at most 10",
		"HTTPRetry.retryOn":                     "not retriable-headers; reset-before-request is taken as refused-stream",
		"HeaderOperations.set":                  "not Envoy's substitutions (%NAME%)",
		"HeaderOperations.add":                  "not Envoy's substitutions (%NAME%)",
		"HTTPBody.bytes":                        "UTF-8 only",
		"TLSMatchAttributes.destinationSubnets": "the address of the service that a program calls; at a gateway the one that clients connect to",
		"L4MatchAttributes.destinationSubnets":  "the address of the service that a program calls; at a gateway the one that clients connect to",
		"L4MatchAttributes.sourceSubnet":        "the program's own address; at a gateway the client's, by the PROXY protocol where there is one",

		"LoadBalancerSettings.simple":             "not PASSTHROUGH",
		"LoadBalancerSettings.warmupDurationSecs": "with ROUND_ROBIN and LEAST_REQUEST",
		"LoadBalancerSettings.warmup":             "with ROUND_ROBIN and LEAST_REQUEST",
		"WarmupConfiguration.minimumPercent":      "the share rises from it to the whole, where Envoy's is that at least",
		"WarmupConfiguration.aggression":          "above 0, 1000 at most",
		"HTTPCookie.attributes":                   "besides Path, Max-Age and HttpOnly, which the cookie has",
		"TrafficPolicy.tunnel":                    "to endpoints outside the mesh",
		"PortTrafficPolicy.tls":                   "of one port of a service",
		"HTTPSettings.useClientProtocol":          "to endpoints outside the mesh; those of the mesh are reached by HTTP/2, and their programs by what their port declares",
		"OutlierDetection.baseEjectionTime":       "the penalty doubles, where Envoy's grows by itself",
		"ClientTLSSettings.mode":                  "to endpoints outside the mesh; those of the mesh are reached by its own TLS",
		"ClientTLSSettings.clientCertificate":     "in a mesh at proxies with --certificates (weft run, weft gateway)",
		"ClientTLSSettings.privateKey":            "in a mesh at proxies with --certificates (weft run, weft gateway)",
		"ClientTLSSettings.caCertificates":        "in a mesh at proxies with --certificates (weft run, weft gateway)",
		"ClientTLSSettings.credentialName":        "a Secret of the rule's namespace, else of istio-system; in a mesh its certificate is for proxies of that namespace, gateways of istio-system, and the gateway by which a service of that namespace leaves",
		"ServerTLSSettings.mode":                  "not AUTO_PASSTHROUGH, whose server names only Istio's sidecars write; ISTIO_MUTUAL at an egress gateway of a mesh",
		"ServerTLSSettings.minProtocolVersion":    "TLS_AUTO, TLSV1_2 and TLSV1_3",
		"ServerTLSSettings.maxProtocolVersion":    "TLS_AUTO, TLSV1_2 and TLSV1_3",
		"ServerTLSSettings.cipherSuites":          "of TLS 1.2 those that Go's crypto/tls thinks safe, by OpenSSL's names or IANA's; those of TLS 1.3 are on always",
		"ClientTLSSettings.caCrl":                 "in a mesh at proxies with --certificates (weft run, weft gateway)",
		"Server.defaultEndpoint":                  "127.0.0.1:PORT, on the machine of the gateway, for what no VirtualService takes; no Unix sockets",
		"Server.bind":                             "an IP address",
		"Port.protocol":                           "HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS",
		"ServiceEntry.hosts":                      "no wildcards",
		"ServiceEntry.exportTo":                   "for resources that name its hosts",
		"ServiceEntry.addresses":                  "one address",
		"ServiceEntry.resolution":                 "STATIC, DNS and DNS_ROUND_ROBIN; names are looked up by the proxies",
		"ServiceEntry.location":                   "MESH_INTERNAL endpoints that are written out are reached without the mesh's TLS",
		"ServicePort.protocol":                    "UDP at the UDPRoutes of gateways only",
		"WorkloadEntry.address":                   "an IP address or a DNS name",
		"DestinationRule.workloadSelector":        "clients with a proxy of their own, not gateways; 4 selectors for a service and namespace",
		"Sidecar.inboundConnectionPool":           "each proxy and port; requests that come by the mesh",
		"IstioIngressListener.port":               "a port that the program registered",
		"IstioIngressListener.captureMode":        "DEFAULT and IPTABLES, which mean the same",
		"IstioIngressListener.defaultEndpoint":    "127.0.0.1:PORT and 0.0.0.0:PORT",
		"OutboundTrafficPolicy.egressProxy":       "a service of the mesh or of a ServiceEntry; bytes without a server name reach it without where they were going",
		"OutboundTrafficPolicy.mode":              "REGISTRY_ONLY: TCP, where the program is captured by eBPF; else what it sends to its proxy",
	}
}

// refused is why a field is not honoured, and what to write instead.
type refused struct{ message, remedy string }

func refusal(name string) (message, remedy string) {
	r, ok := refusals()[name]
	if !ok {
		return "is not supported in this version of Weft", "remove it"
	}
	return r.message, r.remedy
}

func idleness(name string) string { return "has no effect: " + idleFields()[name] }

func refusals() map[string]refused {
	const not, nor = " is not supported in this version of Weft", " are not supported in this version of Weft"
	return map[string]refused{
		"Delay.exponentialDelay": {"is hidden in Istio and not supported in this version of Weft", "write fixedDelay"},

		"LoadBalancerSettings.zoneAwareLbSetting":       {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.enabled":          {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.failover":         {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.failoverPriority": {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.minClusterSize":   {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.Failover.from":    {"balancing by the size of zones" + not, "write localityLbSetting"},
		"ZoneAwareLoadBalancerSetting.Failover.to":      {"balancing by the size of zones" + not, "write localityLbSetting"},
		"OutlierDetection.consecutiveErrors":            {"is deprecated, and Istio itself no longer looks at it", "write consecutive5xxErrors or consecutiveGatewayErrors"},

		"IstioIngressListener.bind":        {"another address to listen on" + not + ": what comes in by the mesh is met where the workload's proxy listens", "remove it"},
		"IstioIngressListener.tls":         {"TLS of one's own for what comes in" + not + ": proxies of the mesh use its TLS", "remove it"},
		"IstioIngressListener.captureMode": {"NONE" + not + ": programs are not captured for what comes in, since it comes by the mesh", "remove it"},
		"IstioEgressListener.port":         {"listeners of one's own" + nor + ": a program's connections are captured by address", "remove it"},
		"IstioEgressListener.bind":         {"listeners of one's own" + nor, "remove it"},
		"IstioEgressListener.captureMode":  {"listeners of one's own" + nor, "remove it"},
		"HeaderOperations.set":             {"values that Envoy would fill in (%NAME%)" + nor, "write the value itself, and %% for a percent sign"},
	}
}

func idleFields() map[string]string {
	return map[string]string{
		"HTTPRoute.name":              "it only names the route; Weft names rules by resource, number and line",
		"HTTPMatchRequest.name":       "it only names the match; Weft names rules by resource, number and line",
		"HTTPMatchRequest.statPrefix": "Weft counts by route and rule without it",

		"HTTPSettings.h2UpgradePolicy": "proxies speak HTTP/2 to each other always, and to programs what their port declares",
		"OutlierDetection.interval":    "Weft looks at every answer, not at intervals",

		"SidecarPort.name":             "it only names the port",
		"SidecarPort.targetPort":       "it is deprecated, and Istio ignores it",
		"Port.name":                    "it only names the port",
		"Port.targetPort":              "it is deprecated, and Istio ignores it in a Gateway",
		"Server.name":                  "it only names the server, in logs and explanations",
		"WorkloadEntry.network":        "Weft reaches every endpoint by its address",
		"WorkloadEntry.serviceAccount": "the endpoint is reached without the mesh's TLS, so it has no identity to check",
	}
}
