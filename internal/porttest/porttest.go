// Package porttest finds ports of the loopback addresses for programs that tests start and that must be told where to
// listen. A port that the kernel chose for a socket which is closed again may be chosen for the next one too: for a
// connection, for a proxy, or for another test's program, before ours comes to listen there. The ports found here lie
// below those the kernel chooses from, and each is given to one caller at a time on this machine.
package porttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

const (
	lowest   = 12_000
	ceiling  = 32_768 // Linux: the first of net.ipv4.ip_local_port_range, as shipped
	attempts = 1_000
)

// Free returns a TCP port that is free on 127.0.0.1 and [::1]. No other call of Free returns it until this process has
// ended, which bounds a process to the 20,000 ports there are. Calls may run side by side, in several processes too.
func Free() (int, error) {
	most := kernelsFirst()
	for range attempts {
		port := lowest + rand.IntN(most-lowest)
		if !unused(port) {
			continue
		}
		switch mine, err := claim(port); {
		case err != nil:
			return 0, fmt.Errorf("port %d: %w", port, err)
		case mine:
			return port, nil
		}
	}
	return 0, errors.New("no port is free: " + fmt.Sprintf("%d tried from %d to %d", attempts, lowest, most-1))
}

// kernelsFirst is the least port that the kernel chooses by itself.
func kernelsFirst() int {
	var first int
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ceiling
	}
	if _, err := fmt.Sscan(string(b), &first); err != nil || first < lowest+attempts {
		return ceiling
	}
	return first
}

func unused(port int) bool {
	for _, host := range []string{"127.0.0.1", "::1"} {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
		if err != nil {
			if host == "::1" && !hasIPv6() {
				continue
			}
			return false
		}
		ln.Close()
	}
	return true
}

func hasIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	ln.Close()
	return true
}
