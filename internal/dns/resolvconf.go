package dns

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxResolvConf bounds what is read of the file; glibc uses three name servers of it at most.
const maxResolvConf = 64 << 10

// ReadResolvConf reads the name servers and the search suffixes of this machine's resolv.conf(5), in order.
// Lines it does not know are passed over, as every resolver does.
func ReadResolvConf() (upstream, search []string, err error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, nil, fmt.Errorf("find the name servers: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return nil, nil, fmt.Errorf("find the name servers: %w", err)
	}
	upstream, search = parseResolvConf(string(b))
	return upstream, search, nil
}

func parseResolvConf(text string) (upstream, search []string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if _, err := parseUpstream(f[1]); err == nil {
				upstream = append(upstream, f[1])
			}
		case "domain", "search": // the last one counts
			search = nil
			for _, s := range f[1:] {
				if s = normalize(s); s != "" {
					search = append(search, s)
				}
			}
		}
	}
	return upstream, search
}
