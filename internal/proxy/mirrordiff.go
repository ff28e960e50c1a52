package proxy

import (
	"fmt"
	"hash/maphash"
	"maps"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// How the answer of a mirror compares with that of the backend.
const (
	diffSame       = "same"
	diffStatus     = "status"
	diffHeader     = "header"
	diffBody       = "body"
	diffUnanswered = "unanswered" // one of the two gave no whole answer
)

// comparison is of the answer to a request and the answer of a mirror to its copy. Both come in their own time; whoever
// is last counts. It belongs to the loop.
type comparison struct {
	policy           *model.MirrorDiff
	key              telemetry.MirrorKey
	request          string // what was asked, for the log
	id               string
	original, copied answered
	halves           int
}

// answered is what is kept of one of the two answers.
type answered struct {
	status  int
	grpc    string
	headers []string // values of policy.Headers
	hash    maphash.Hash
	hashed  int
	length  uint64
	failed  string // flag; "" if the answer is whole
}

// compare begins the comparison with a mirror's answer, if the policy asks for it.
func (x *exchange) compare(m *mirror) *comparison {
	if x.plan == nil || x.plan.diff == nil {
		return nil
	}
	d := &comparison{
		policy:  x.plan.diff,
		key:     telemetry.MirrorKey{Mirror: m.Service.String(), Route: x.rule.Ref.String()},
		request: x.req.Method + " " + telemetry.ShownPath(x.req.Path), id: strings.Clone(x.rec.RequestID),
	}
	if x.service != nil {
		d.key.Service = x.service.Name.String()
	} else if x.target != nil {
		d.key.Service = x.target.Name.String()
	}
	d.copied.hash.SetSeed(d.original.hash.Seed())
	x.diffs = append(x.diffs, d)
	return d
}

// head takes the head of an answer, which is borrowed.
func (a *answered) head(d *comparison, h *message.Head) {
	a.status = h.Status
	a.headers = make([]string, len(d.policy.Headers))
	for i, name := range d.policy.Headers {
		var all []string
		for j := range h.Fields {
			if h.Fields[j].Name == name {
				all = append(all, h.Fields[j].Value)
			}
		}
		a.headers[i] = strings.Clone(strings.Join(all, ", "))
	}
}

// data takes content.
func (a *answered) data(d *comparison, p []byte) {
	a.length += uint64(len(p))
	if n := min(len(p), d.policy.MaxBody-a.hashed); n > 0 {
		_, _ = a.hash.Write(p[:n]) // never fails
		a.hashed += n
	}
}

// conclude ends one half, that of exchange x; with the second the result is counted.
func (d *comparison) conclude(w *worker, a *answered, x *exchange) {
	a.grpc = strings.Clone(x.rec.GRPCStatus)
	if x.failed != nil {
		a.failed = x.failed.Flag
	}
	if d.halves++; d.halves < 2 {
		return
	}
	kinds, what := d.result()
	for _, kind := range kinds {
		key := d.key
		key.Result = kind
		w.mirrors.Count(key)
	}
	if kinds[0] != diffSame && w.shown.take(d.policy.Samples, w.loop.Now()) {
		w.log.Info("a mirror answers differently", "service", d.key.Service, "mirror", d.key.Mirror, "route", d.key.Route,
			"request", d.request, "id", d.id, "difference", strings.Join(what, "; "))
	}
}

// result says in what the two differ: the kinds, and in words without secrets.
func (d *comparison) result() (kinds, what []string) {
	a, b := &d.original, &d.copied
	switch {
	case a.failed != "" && b.failed != "":
		return []string{diffUnanswered}, []string{"neither answered: " + a.failed + ", the mirror " + b.failed}
	case a.failed != "":
		return []string{diffUnanswered}, []string{"the backend gave no whole answer: " + a.failed}
	case b.failed != "":
		return []string{diffUnanswered}, []string{"the mirror gave no whole answer: " + b.failed}
	}
	if a.status != b.status {
		what = append(what, fmt.Sprintf("status %d, the mirror %d", a.status, b.status))
	}
	if a.grpc != b.grpc {
		what = append(what, fmt.Sprintf("gRPC status %q, the mirror %q", clipped(a.grpc), clipped(b.grpc)))
	}
	if len(what) > 0 {
		kinds = append(kinds, diffStatus)
	}
	differ := false
	for i, name := range d.policy.Headers {
		if a.headers[i] != b.headers[i] {
			differ = true
			what = append(what, fmt.Sprintf("%s %q, the mirror %q", name, telemetry.ShownValue(name, a.headers[i]), telemetry.ShownValue(name, b.headers[i])))
		}
	}
	if differ {
		kinds = append(kinds, diffHeader)
	}
	if d.policy.MaxBody > 0 && (a.length != b.length || a.hash.Sum64() != b.hash.Sum64()) {
		kinds = append(kinds, diffBody)
		what = append(what, fmt.Sprintf("content of %d bytes, the mirror's of %d", a.length, b.length))
	}
	if len(kinds) == 0 {
		kinds = []string{diffSame}
	}
	return kinds, what
}

// clipped bounds a gRPC status in the log: a server may send anything.
func clipped(s string) string { return s[:min(len(s), 16)] }

// compared is the client of a request whose answer is compared.
type compared struct {
	sender
	diffs []*comparison
}

func (c compared) SendData(p []byte, end bool) error {
	for _, d := range c.diffs {
		d.original.data(d, p)
	}
	return c.sender.SendData(p, end)
}

// sampler allows so many in a minute.
type sampler struct {
	since time.Time
	taken int
}

func (s *sampler) take(most int, now time.Time) bool {
	if now.Sub(s.since) >= time.Minute {
		s.since, s.taken = now, 0
	}
	s.taken++
	return s.taken <= most
}

// Mirrors returns each loop's counts of how the answers of mirrors compare.
func (e *Engine) Mirrors() []telemetry.Mirrors {
	var out []telemetry.Mirrors
	for _, w := range e.workers {
		w.loop.Call(func() { out = append(out, maps.Clone(w.mirrors)) })
	}
	return out
}
