package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// weighted routes web to its two versions.
func weighted(v1, v2 int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - backendRefs:
    - {name: web-v1, port: 80, weight: %d}
    - {name: web-v2, port: 80, weight: %d}
`, v1, v2)
}

// TestWeightsMoveUnderLoad splits traffic, then moves all of it while requests flow.
func TestWeightsMoveUnderLoad(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.httpService("web", "v2")
	m.ready("web", 2)
	m.must("apply", "--wait", "-f", m.file("web.yaml", weighted(90, 10)))
	c := m.join("tally", "2000 http://web/")
	var v1, v2 int
	if _, err := fmt.Sscanf(c.out.String(), "v1=%d v2=%d", &v1, &v2); err != nil {
		t.Fatalf("%v: %s%s", err, c.out.String(), c.err.String())
	}
	// 99.9% of samples of 2,000 at 10% lie within 3.3 standard deviations of 13.4.
	if v1+v2 != 2000 || v2 < 200-45 || v2 > 200+45 {
		t.Errorf("%d and %d of 2,000 at 90 to 10", v1, v2)
	}
	end := m.steady("http://web/")
	for i, until := 0, time.Now().Add(5*time.Second); time.Now().Before(until); i++ {
		want := fmt.Sprintf("v%d=100\n", 2-i%2)
		began := time.Now()
		m.must("apply", "--wait", "-f", m.file("web.yaml", weighted(i%2, 1-i%2)))
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("apply --wait took %v", took)
		}
		if c := m.join("tally", "100 http://web/"); c.out.String() != want {
			t.Errorf("after apply --wait: %s, want %s", c.out.String(), want)
		}
	}
	out := m.must("delete", "httproute", "web", "--wait")
	if !strings.Contains(out, "deleted") {
		t.Error(out)
	}
	if c := m.join("tally", "100 http://web/"); !strings.HasPrefix(c.out.String(), "v1=") || !strings.Contains(c.out.String(), " v2=") {
		t.Errorf("without a route both versions should answer: %s", c.out.String())
	}
	end(200)
}

// TestShareOfAMissingService is answered 500 and no more than that share.
func TestShareOfAMissingService(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	before := m.must("get", "-A", "-o", "yaml")
	file := m.file("web.yaml", strings.Replace(weighted(50, 50), "web-v2", "wbe-v1", 1))
	if r := m.weft("apply", "--strict", "-f", file); r.code != 65 || !strings.Contains(r.stderr, "web.yaml:9:") || !strings.Contains(r.stderr, `"web-v1"`) {
		t.Errorf("--strict: exit %d\n%s", r.code, r.stderr)
	}
	if after := m.must("get", "-A", "-o", "yaml"); after != before {
		t.Errorf("--strict changed something:\n%s", after)
	}
	if r := m.weft("apply", "--wait", "-f", file); r.code != 0 || !strings.Contains(r.stderr, `"web-v1"`) {
		t.Errorf("exit %d\n%s", r.code, r.stderr)
	}
	c := m.join("tally", "400 http://web/")
	var failed, v1 int
	// Half of 400 lies within 3.3 standard deviations of 10 in 99.9% of samples.
	if _, err := fmt.Sscanf(c.out.String(), "500=%d v1=%d", &failed, &v1); err != nil || failed+v1 != 400 || failed < 200-35 || failed > 200+35 {
		t.Errorf("%v: %s%s", err, c.out.String(), c.err.String())
	}
}

// TestReplicasUnderSteadyLoad has replicas come and go in good order at 200 requests a second.
func TestReplicasUnderSteadyLoad(t *testing.T) {
	m := newMesh(t)
	replicas := make([]*process, 3)
	for i := range replicas {
		replicas[i] = m.httpService("web", "v1")
	}
	m.ready("web", 3)
	end := m.steady("http://web/")
	for until := time.Now().Add(12 * time.Second); time.Now().Before(until); {
		for i := range replicas {
			replicas[i].stop(syscall.SIGTERM)
			m.ready("web", 2)
			replicas[i] = m.httpService("web", "v1")
			m.ready("web", 3)
		}
	}
	end(500)
}
