package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/telemetry"
)

// Query asks for the sums of a window.
type Query struct {
	Window  time.Duration // 2 s to 10 min; 0 is 1 min
	GroupBy []string      // labels, as Label knows them
	Match   map[string]string
	// Namespace keeps series whose source, destination or service is in it; "" keeps all.
	Namespace string
}

// Row is one group.
type Row struct {
	Labels           map[string]string
	Success, Failure uint64
	Open             int64 // connections
	Sent, Received   uint64
	Latency          telemetry.Histogram
	Window           time.Duration
}

// Label returns a label of a series by name, and whether there is one of that name.
func Label(k *telemetry.Key, name string) (string, bool) {
	switch name {
	case "direction":
		return k.Direction, true
	case "source":
		return k.Source, true
	case "source_id":
		return k.SourceID, true
	case "destination":
		return k.Destination, true
	case "destination_id":
		return k.DestinationID, true
	case "service":
		return k.Service, true
	case "route":
		return k.Route, true
	case "protocol":
		return k.Protocol, true
	case "tls":
		return k.TLS, true
	case "version":
		return k.Version, true
	}
	return "", false
}

// Validate says what is wrong with a query.
func (q *Query) Validate() error {
	if q.Window == 0 {
		q.Window = time.Minute
	}
	if q.Window < step || q.Window > keep {
		return fmt.Errorf("window %v is not between %v and %v", q.Window, step, keep)
	}
	for _, l := range q.GroupBy {
		if _, ok := Label(&telemetry.Key{}, l); !ok {
			return fmt.Errorf("group_by: there is no label %q", l)
		}
	}
	for l := range q.Match {
		if _, ok := Label(&telemetry.Key{}, l); !ok {
			return fmt.Errorf("match: there is no label %q", l)
		}
	}
	return nil
}

// Stat sums the window by group. Rows are sorted by their labels in the order of GroupBy.
func (s *Store) Stat(q Query, now time.Time) ([]*Row, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := map[string]*Row{}
	for k, ser := range s.series {
		if !q.keeps(&k.key) {
			continue
		}
		t, ok := ser.window(now, q.Window)
		if !ok {
			continue
		}
		row := q.group(groups, &k.key)
		row.Success += t.success
		row.Failure += t.failure
		if now.Sub(s.nodes[k.node]) < alive { // the connections of a proxy that died, died with it
			row.Open += int64(t.opened) - int64(t.closed)
		}
		row.Sent += t.sent
		row.Received += t.received
		row.Latency.Merge(&t.latency)
	}
	return q.sorted(groups), nil
}

func (q *Query) keeps(k *telemetry.Key) bool {
	for l, want := range q.Match {
		if got, _ := Label(k, l); got != want {
			return false
		}
	}
	if q.Namespace == "" {
		return true
	}
	in := q.Namespace + "/"
	return strings.HasPrefix(k.Source, in) || strings.HasPrefix(k.Destination, in) || strings.HasPrefix(k.Service, in)
}

func (q *Query) group(groups map[string]*Row, k *telemetry.Key) *Row {
	var id strings.Builder
	for _, l := range q.GroupBy {
		v, _ := Label(k, l)
		id.WriteString(v)
		id.WriteByte(0)
	}
	row := groups[id.String()]
	if row == nil {
		row = &Row{Labels: map[string]string{}, Window: q.Window}
		for _, l := range q.GroupBy {
			row.Labels[l], _ = Label(k, l)
		}
		groups[id.String()] = row
	}
	return row
}

func (q *Query) sorted(groups map[string]*Row) []*Row {
	rows := make([]*Row, 0, len(groups))
	for _, r := range groups {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *Row) int {
		for _, l := range q.GroupBy {
			if c := cmp.Compare(a.Labels[l], b.Labels[l]); c != 0 {
				return c
			}
		}
		return 0
	})
	return rows
}

// Requests returns how many requests the row holds.
func (r *Row) Requests() uint64 { return r.Success + r.Failure }

// SuccessRate is a share of 1; NaN without requests.
func (r *Row) SuccessRate() float64 {
	if r.Requests() == 0 {
		return math.NaN()
	}
	return float64(r.Success) / float64(r.Requests())
}
