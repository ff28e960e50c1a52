package proxy

import (
	"bytes"
	"net/http"
	"testing"
)

// TestEarlyAnswers has a server answer without reading the request, and give the rest of it up: its answer
// must reach the client, whichever protocol carries it.
func TestEarlyAnswers(t *testing.T) {
	routes(t, func(t *testing.T, c *http.Client, url string) {
		body := bytes.Repeat([]byte("x"), 1<<20)
		for i := range 8 {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/early", bytes.NewReader(body[:len(body)>>(i%4*4)]))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Fatalf("request %d: %s, weft-failure %q", i, resp.Status, resp.Header.Get("weft-failure"))
			}
		}
	})
}
