package cli

import (
	"slices"
	"strings"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// maxTopRows bounds what top remembers; the row longest without a request makes room.
const maxTopRows = 1000

type topKey struct{ source, destination, method, path string }

// topRow is what top shows of one kind of request.
type topRow struct {
	topKey
	count, success    uint64
	best, worst, last time.Duration
	seen              uint64 // counts events, so that age needs no clock
}

// topData sums requests up. It is used by one goroutine.
type topData struct {
	rows  map[topKey]*topRow
	clock uint64
	scope scope
}

func newTopData(s scope) *topData { return &topData{rows: map[topKey]*topRow{}, scope: s} }

// add counts an event. Both proxies of a request report it: the caller's counts, the server's only when
// the caller has none.
func (t *topData) add(e *discoveryv1.TapEvent) {
	if e.GetDirection() == "inbound" && e.GetTls() == "mutual" {
		return
	}
	path, _, _ := strings.Cut(e.GetPath(), "?")
	destination := e.GetDestination()
	if destination == "" {
		destination = e.GetService()
	}
	key := topKey{orUnknown(t.scope.short(e.GetSource())), orUnknown(t.scope.short(destination)), e.GetMethod(), path}
	if key.method == "" {
		key.method = strings.ToUpper(e.GetProtocol())
	}
	t.clock++
	row := t.rows[key]
	if row == nil {
		if len(t.rows) >= maxTopRows {
			t.forgetOldest()
		}
		row = &topRow{topKey: key}
		t.rows[key] = row
	}
	took := time.Duration(e.GetSeconds() * float64(time.Second))
	if row.count == 0 || took < row.best {
		row.best = took
	}
	row.worst, row.last, row.seen = max(row.worst, took), took, t.clock
	row.count++
	if succeeded(e) {
		row.success++
	}
}

func (t *topData) forgetOldest() {
	var oldest *topRow
	for _, r := range t.rows {
		if oldest == nil || r.seen < oldest.seen {
			oldest = r
		}
	}
	delete(t.rows, oldest.topKey)
}

// succeeded is the rule of SUCCESS everywhere: failures are the server's, as 5xx, the gRPC statuses that
// blame the server, or no answer; 499 is a client that left.
func succeeded(e *discoveryv1.TapEvent) bool {
	switch e.GetGrpcStatus() {
	case "2", "4", "13", "14", "15":
		return false
	case "":
	default:
		return e.GetStatus() < 500
	}
	if e.GetStatus() == 499 {
		return true
	}
	return e.GetStatus() < 500 && e.GetFailure() == ""
}

// sorted returns the rows with most requests first.
func (t *topData) sorted() []*topRow {
	rows := make([]*topRow, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(x, y *topRow) int {
		if x.count != y.count {
			return int(int64(y.count) - int64(x.count))
		}
		return strings.Compare(x.source+x.destination+x.method+x.path, y.source+y.destination+y.method+y.path)
	})
	return rows
}

// table returns at most limit rows; 0 is all.
func (t *topData) table(limit int) *table {
	out := newTable("Source", "Destination", "Method", "Path", ">Count", ">Best", ">Worst", ">Last", ">Success Rate")
	for i, r := range t.sorted() {
		if limit > 0 && i == limit {
			break
		}
		out.add(r.source, r.destination, r.method, clip(r.path, 60), itoa(r.count), latency(r.best.Seconds()),
			latency(r.worst.Seconds()), latency(r.last.Seconds()), percent(float64(r.success)/float64(r.count)))
	}
	return out
}

// clip shortens a long cell at its end.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
