package productpage

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// metrics counts answers of the backends, in Prometheus' text format. Three services and the statuses there
// are bound it.
type metrics struct {
	mu     sync.Mutex
	counts map[result]uint64
}

type result struct {
	app    string
	status int
}

func (m *metrics) count(app string, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[result]uint64{}
	}
	m.counts[result{app, status}]++
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	type line struct {
		result
		n uint64
	}
	var lines []line
	m.mu.Lock()
	for r, n := range m.counts {
		lines = append(lines, line{r, n})
	}
	m.mu.Unlock()
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.status, b.status))
	})
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP request_result_total Results of requests to other services.\n# TYPE request_result_total counter\n")
	for _, l := range lines {
		fmt.Fprintf(w, "request_result_total{destination_app=%q,response_code=\"%d\"} %d\n", l.app, l.status, l.n)
	}
}
