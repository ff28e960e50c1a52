package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestEndpointsByName: a ServiceEntry with resolution DNS is reached at the addresses of its name, through the control
// plane and a proxy; one whose name has none is 503.
func TestEndpointsByName(t *testing.T) {
	m := newMesh(t)
	program := behaving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "outside") })
	entry := func(host, address string) string {
		return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%[1]s.default.svc.cluster.local]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: %s, ports: {http: %d}}]
`, host, address, program)
	}
	m.must("apply", "--wait", "-f", m.file("entries.yaml", entry("outside", "localhost")+"---\n"+entry("nowhere", "nowhere.invalid")))
	ports := map[string]int{"outside": freePort(t), "nowhere": freePort(t)}
	args := []string{"--service", "load"}
	for name, port := range ports {
		args = append(args, "--upstream", fmt.Sprintf("%s:80=%d", name, port))
	}
	m.run(append(args, "--", "sleep", "1000")...)
	client := &http.Client{Timeout: 20 * time.Second}
	for name, want := range map[string]string{"outside": "200 outside", "nowhere": "503 weft: no_endpoints"} {
		eventually(t, 30*time.Second, name+" answers", func() error {
			resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[name]))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if got := fmt.Sprintf("%d %s", resp.StatusCode, b); !strings.HasPrefix(got, want) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	if out := m.must("explain", "outside"); !strings.Contains(out, fmt.Sprintf("at localhost:%d", program)) {
		t.Errorf("explain:\n%s", out)
	}
}
