package demo

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// freePorts returns n TCP ports of 127.0.0.1 on which nothing listens. They are taken below the range the
// kernel gives to outgoing connections, so that none of them is gone when the program that is to have it
// binds it; only another server started at the same moment can still take one.
func freePorts(n int) ([]int, error) {
	low := ephemeralStart()
	const from = 20_000
	if low < from+2000 {
		low = 32_768 // the range was widened; take the risk
	}
	var ports []int
	taken := map[int]bool{}
	for range 200 * (n + 1) {
		if len(ports) == n {
			return ports, nil
		}
		p := from + rand.IntN(low-from)
		if taken[p] {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			return nil, fmt.Errorf("port %d: %w", p, err)
		}
		taken[p] = true
		ports = append(ports, p)
	}
	if len(ports) == n {
		return ports, nil
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d on 127.0.0.1", n, from, low)
}

// ephemeralStart is the first port of the kernel's range for outgoing connections, or its default.
func ephemeralStart() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32_768
	}
	var lo, hi int
	if n, _ := fmt.Sscan(string(b), &lo, &hi); n != 2 {
		return 32_768
	}
	return lo
}
