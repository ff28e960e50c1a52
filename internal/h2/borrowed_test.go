package h2

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/internal/message"
)

// TestBorrowedHeadsDoNotHauntTheTable sends heads whose strings live in memory that the next head overwrites, as
// those of HTTP/1.1 do. Each must arrive as it was sent, whatever the compression table holds.
func TestBorrowedHeadsDoNotHauntTheTable(t *testing.T) {
	client, server := connect(t)
	var h message.Head
	for i := range 20_000 {
		h.Reset()
		want := fmt.Sprintf("/p%02d", i*7%89)
		h.Method, h.Scheme = h.Keep([]byte("GET")), "http"
		h.Path = h.Keep([]byte(want))
		h.Authority = h.Keep([]byte(fmt.Sprintf("host%02d", i*5%97)))
		h.Add(h.Keep([]byte(fmt.Sprintf("x-%02d", i*3%83))), h.Keep([]byte(fmt.Sprintf("v%02d", i*11%79))))
		name, value, authority := h.Fields[0].Name, h.Fields[0].Value, h.Authority
		s, err := client.c.Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.c.SendHead(s, &h, true); err != nil {
			t.Fatal(err)
		}
		pump(t, client.c, server.c)
		got := server.heads[len(server.heads)-1]
		if got.Head.Path != want || got.Head.Authority != authority || got.Head.Get(name) != value {
			t.Fatalf("request %d: sent %s %s %s=%s, got %+v", i, want, authority, name, value, got.Head)
		}
		_ = server.c.SendHead(got, &message.Head{Status: 204, Length: message.Unknown}, true)
		pump(t, client.c, server.c)
		server.c.Release(got)
		client.c.Release(s)
		server.heads = server.heads[:0]
	}
}
