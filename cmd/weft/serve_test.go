package main

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/control/store"
)

func TestServeStatus(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, inUse := net.Listen("tcp", l.Addr().String())
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"port in use":         {fmt.Errorf("listen: %w", inUse), cli.ExitUsage},
		"unreadable data":     {&store.Error{Kind: store.ErrAccess, Code: 74}, cli.ExitUsage},
		"damaged store":       {&store.Error{Kind: store.ErrCorrupt, Code: 65}, cli.ExitData},
		"store not reachable": {&store.Error{Kind: store.ErrUnreachable, Code: 69}, cli.ExitUnavailable},
		"key file mode":       {&ca.Error{Kind: ca.ErrKeyFile, Code: 77}, cli.ExitUsage},
		"key file damaged":    {&ca.Error{Kind: ca.ErrKeyFile, Code: 65}, cli.ExitData},
		"other trust domain":  {&ca.Error{Kind: ca.ErrTrustDomain, Code: 78}, cli.ExitUsage},
	} {
		got := serveStatus(c.err)
		var coded interface{ ExitCode() int }
		if !errors.As(got, &coded) || coded.ExitCode() != c.want || got.Error() == "" {
			t.Errorf("%s: %v, want exit status %d", name, got, c.want)
		}
	}
	if serveStatus(nil) != nil {
		t.Error("success is an error")
	}
}
