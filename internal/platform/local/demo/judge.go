package demo

import (
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// confidence of the bounds on a random split: a true split fails once in a thousand runs.
const confidence = 0.999

// judgeEdges says of every edge whether both sides saw mutual TLS between the right identities, and of all
// traffic whether any of it went without.
func judgeEdges(d *Description, trust string, rows []*adminv1.StatRow) []verdict {
	var out []verdict
	for _, e := range d.Check.Edges {
		from := model.Identity{TrustDomain: trust, Namespace: d.Namespace, Account: d.account(e.From)}.String()
		to := model.Identity{TrustDomain: trust, Namespace: d.Namespace, Account: d.account(e.To)}.String()
		source, destination := d.Namespace+"/"+e.From, d.Namespace+"/"+e.To
		seen := map[string]uint64{}
		for _, r := range rows {
			l := r.GetLabels()
			// The server knows its client by identity; its service's name is the client's own affair.
			mine := l["destination"] == destination && (l["direction"] == "inbound" || l["source"] == source)
			if mine && l["tls"] == "mutual" && l["source_id"] == from && l["destination_id"] == to {
				seen[l["direction"]] += r.GetRequests()
			}
		}
		out = append(out, verdict{
			claim:  fmt.Sprintf("%s -> %s is mutual TLS with the right identities at both ends", e.From, e.To),
			figure: fmt.Sprintf("%s -> %s; %d requests seen by the client's side, %d by the server's", from, to, seen["outbound"], seen["inbound"]),
			ok:     seen["outbound"] > 0 && seen["inbound"] > 0,
		})
	}
	return append(out, judgeNoPlaintext(rows))
}

// judgeNoPlaintext looks for traffic that reached a destination without mutual TLS.
func judgeNoPlaintext(rows []*adminv1.StatRow) verdict {
	v := verdict{claim: "no edge goes without mutual TLS", ok: true}
	edges := 0
	for _, r := range rows {
		l := r.GetLabels()
		if r.GetRequests() == 0 || l["destination"] == "" {
			continue // nothing was sent to anyone
		}
		edges++
		if l["tls"] != "mutual" {
			v.ok = false
			v.figure = fmt.Sprintf("%d requests %s -> %s (%s) with tls=%s; ", r.GetRequests(), l["source"], l["destination"], l["direction"], l["tls"])
		}
	}
	v.figure += fmt.Sprintf("%d edges seen", edges)
	v.ok = v.ok && edges > 0
	return v
}

// judgeSplit holds the counts of answers against the exact binomial bounds of their shares.
func judgeSplit(shares map[string]int, requests int, r Result) verdict {
	total := 0
	var names, weights, figures []string
	for name, w := range shares {
		total += w
		names = append(names, name)
	}
	slices.Sort(names)
	good, answered := r.OK == requests, 0
	for _, name := range names {
		lo, hi := binomialBounds(requests, float64(shares[name])/float64(total), confidence)
		n := r.Answers[name]
		answered += n
		good = good && n >= lo && n <= hi
		weights = append(weights, fmt.Sprint(shares[name]))
		figures = append(figures, fmt.Sprintf("%s %d (bounds %d to %d)", name, n, lo, hi))
	}
	return verdict{
		claim:  fmt.Sprintf("a split of %s holds within the binomial 99.9%% bounds over %d requests", strings.Join(weights, "/"), requests),
		figure: strings.Join(figures, ", ") + fmt.Sprintf(", others %d, failed %d%s", r.Sent-r.Failed-answered, r.Failed, firstFailure(r)),
		ok:     good && answered == requests,
	}
}

// judgeLossless wants no failure, and that the load was really put on: a stalled generator loses nothing.
func judgeLossless(claim string, rps float64, r Result, more string) verdict {
	rate := 0.0
	if r.Elapsed > 0 {
		rate = float64(r.Sent) / r.Elapsed
	}
	return verdict{
		claim: claim,
		figure: fmt.Sprintf("%d of %d requests lost (%.0f requests/s for %.1f s, p50 %.1f ms, p99 %.1f ms, max %.0f ms)%s%s",
			r.Failed, r.Sent, rate, r.Elapsed, r.Latency.P50*1e3, r.Latency.P99*1e3, r.Latency.Max*1e3, more, firstFailure(r)),
		ok: r.Failed == 0 && r.OK > 0 && rate >= 0.9*rps,
	}
}

// judgeKill allows the failure of requests that were under way at some time of the kill, and of no others. The
// kill takes time: from the signal until the program's port is closed.
func judgeKill(claim string, kill Flight, r Result) verdict {
	overlaps := func(f Flight) bool { return f.Start <= kill.End && f.End >= kill.Start }
	inFlight, after := 0, 0
	for _, f := range r.Flights {
		if overlaps(f) {
			inFlight++
		}
		if f.Start > kill.End {
			after++
		}
	}
	strays := r.Failed - len(r.Failures) // more than are told of one by one
	for _, f := range r.Failures {
		if !overlaps(f.Flight) {
			strays++
		}
	}
	return verdict{
		claim: claim,
		figure: fmt.Sprintf("%d of %d requests lost, %d were in flight; of %d sent afterwards %d were lost%s",
			r.Failed, r.Sent, inFlight, after, strays, firstFailure(r)),
		ok: strays == 0 && r.Failed <= inFlight && after > 0,
	}
}
