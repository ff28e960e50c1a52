package main

import "fmt"

// scenarios returns all of them, in the order they run.
func scenarios() []scenario {
	const cpu = "us CPU/request"
	best, envoys := []string{"nginx", "haproxy"}, []string{"envoy"}
	pairBest, pairEnvoys := []string{"nginx", "haproxy-h1", "haproxy-h2"}, []string{"envoy-h1", "envoy-h2"}
	var out []scenario
	for _, c := range []struct {
		conns int
		bars  []bar
	}{{1, nil}, {32, []bar{{best, 1.00}, {envoys, 0.30}}}, {128, nil}} {
		out = append(out, scenario{
			name: fmt.Sprintf("h1-c%d", c.conns), about: fmt.Sprintf("HTTP/1.1 hop, keep-alive, %d connections", c.conns), unit: cpu,
			setup: hops((*lab).nginxBackend, hop{protocol: http1}), figure: cost(wrk(c.conns, "/")), bars: c.bars,
		})
	}
	out = append(out, scenario{
		name: "h1-64k-c32", about: "HTTP/1.1 hop, answers of 64 KiB, 32 connections", unit: cpu,
		setup: hops((*lab).nginxBackend, hop{protocol: http1}), figure: cost(wrk(32, "/64k")), bars: []bar{{best, 1.00}},
	})
	for _, c := range []struct {
		conns int
		most  float64
	}{{1, 0.85}, {32, 0.80}, {128, 0.75}} {
		out = append(out, scenario{
			name: fmt.Sprintf("pair-c%d", c.conns), about: fmt.Sprintf("two proxies, mutual TLS 1.3 between them, HTTP/1.1 programs, %d connections", c.conns), unit: cpu,
			setup: pairs, figure: cost(wrk(c.conns, "/")), bars: []bar{{pairBest, c.most}, {pairEnvoys, 0.25}},
		})
	}
	out = append(out,
		scenario{
			name: "h2-c32x10", about: "HTTP/2 hop without TLS, 32 connections of 10 streams", unit: cpu,
			setup: hops((*lab).grpcBackend, hop{protocol: http2}, "weft", "haproxy", "envoy"), figure: cost(h2load(32, 10, "/plain", false)),
		},
		scenario{
			name: "grpc-unary", about: "gRPC unary hop, 32 connections of 10 streams", unit: cpu,
			setup:  hops((*lab).grpcBackend, hop{protocol: http2}, "weft", "haproxy", "envoy"),
			figure: cost(h2load(32, 10, "/bench.Echo/Unary", true)), bars: []bar{{[]string{"haproxy"}, 0.75}, {envoys, 0.22}},
		},
		scenario{
			name: "grpc-stream", about: "gRPC, answers of 100 messages each flushed, 32 connections of 1 stream", unit: cpu,
			setup:  hops((*lab).grpcBackend, hop{protocol: http2}, "weft", "haproxy", "envoy"),
			figure: cost(h2load(32, 1, "/bench.Echo/Stream", true)),
		},
		scenario{
			name: "tls-new", about: "new TLS 1.3 connections (P-256, no resumption), one request on each, 16 at a time", unit: "us CPU/connection",
			setup: hops((*lab).nginxBackend, hop{protocol: tls1}), figure: cost(connect(16)),
		},
		scenario{
			name: "tcp-64k-c32", about: "TCP, 64 KiB there and back, 32 connections", unit: "us CPU/64 KiB exchange",
			setup: hops((*lab).echoBackend, hop{protocol: tcp}), figure: cost(echo(32, 64<<10)), bars: []bar{{[]string{"haproxy"}, 1.00}},
		},
		scenario{
			name: "tcp-bulk", about: "TCP, one connection, as much as goes, there and back", unit: "us CPU/MiB",
			setup: hops((*lab).echoBackend, hop{protocol: tcp}), figure: cost(bulk),
		},
		scenario{
			name: "latency-p50", about: "median latency at 2,000 requests/s, open loop; a proxy adds its difference to direct", unit: "us",
			setup: withDirect(hops((*lab).nginxBackend, hop{protocol: http1})), figure: latency(2000, 0.50),
		},
		scenario{
			name: "latency-p99", about: "99th percentile at 2,000 requests/s, open loop; a proxy adds its difference to direct", unit: "us",
			setup: withDirect(hops((*lab).nginxBackend, hop{protocol: http1})), figure: latency(2000, 0.99),
			bars: []bar{{append(best, "envoy"), 1.00}},
		},
		scenario{
			name: "rss-idle", about: "memory after the start", unit: "MiB", rounds: 1,
			setup: hops((*lab).nginxBackend, hop{protocol: http1}), figure: memory, bars: []bar{{nil, 20}},
		},
		scenario{
			name: "rss-10k", about: "memory with 10,000 idle connections that have each made a request", unit: "MiB", rounds: 1,
			// HAProxy wants two descriptors for each connection it may have, more than many machines allow.
			setup: hops((*lab).nginxBackend, hop{protocol: http1}, "weft", "nginx", "envoy"), figure: idle(10_000), bars: []bar{{nil, 50}},
		},
		scenario{
			name: "routes", about: "HTTP/1.1 hop with 1, 100 and 10,000 routes, 32 connections (Weft alone)", unit: cpu,
			setup: routes(1, 100, 10_000), figure: cost(wrkLast), bars: []bar{{[]string{"1 route"}, 1.10}},
		},
		scenario{
			name: "policies", about: "HTTP/1.1 hop, a route with every filter and policy against a bare one, 32 connections (Weft alone)", unit: cpu,
			setup: policies, figure: cost(wrk(32, "/")), bars: []bar{{[]string{"bare route"}, 1.25}},
		},
		scenario{
			name: "shipped", about: "HTTP/1.1 hop with access log and metrics, 32 connections", unit: cpu,
			setup: hops((*lab).nginxBackend, hop{protocol: http1, log: true}), figure: cost(wrk(32, "/")),
		},
		scenario{
			name: "loops", about: "HTTP/1.1 hop, two event loops on two cores against one, 64 connections (Weft alone)", unit: cpu,
			setup: loops, figure: cost(wrk(64, "/")), bars: []bar{{[]string{"one loop"}, 1.10}},
		},
	)
	for _, size := range []string{"1k", "16k", "256k", "1m"} {
		out = append(out, scenario{
			name: "body-" + size, about: "HTTP/1.1 hop, answers of " + size + ", 8 connections", unit: cpu,
			setup: hops((*lab).nginxBackend, hop{protocol: http1}), figure: cost(wrk(8, "/"+size)),
		})
	}
	return out
}
