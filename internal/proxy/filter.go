package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// local is what the proxy itself adds to an exchange: answers of its own, and changes to others'.
type local struct {
	made       bool // the answer is made here, of the head answer and madeBody
	madeBody   string
	resetBy    h2.ErrCode    // in place of an answer of ours; 0: none
	grpcStatus string        // of an answer of ours, where another than that of its HTTP status
	retryAfter time.Duration // told by an answer of ours; 0: nothing is said
	verdict    *verdict      // of services that were asked about the request; nil: nothing
	cors       *corsPolicy   // of the rule or the backend; nil: none
	corsOrigin string        // of the request, where cors is there
	byBackend  bool          // made: by the filters of the backend
	collected  bool          // the content has been read: see collect
	setCookie  string        // that names the client from now on
	token      token         // of the session that the client is in
	collecting bool          // the content is read before the request goes on
	shadows    []*shadow     // copies that take the content too
}

// protect does what rule and policies say before a backend is asked: answers that need none, then faults.
func (x *exchange) protect() *Failure {
	if x.rule != nil && !x.opaque && !x.asks() {
		if x.filter(); x.made {
			return nil
		}
	}
	if !x.opaque {
		if f := x.boundInTime(); f != nil {
			return f
		}
	}
	if x.rule != nil && !x.opaque && x.asks() {
		if f := x.filterAsked(); f != nil || x.made {
			return f
		}
	}
	if x.plan == nil {
		if own := x.w.config.own; own != nil && x.o.kind == fromMesh && !x.opaque {
			return x.askLimits(own) // what is counted here has been, by routeInbound
		}
		return nil
	}
	if !x.opaque {
		if f := x.limited(x.plan); f != nil {
			return f
		}
		if f := x.askLimits(x.plan); f != nil {
			return f
		}
		for i := range x.plan.faults {
			if f := &x.plan.faults[i]; f.applies(x) {
				return x.inject(f)
			}
		}
	}
	return nil
}

// inTurn are the filters of the rule and then those of its backend; each may be nil.
func (x *exchange) inTurn() (out [2]*filters) {
	out[0] = x.rule.filters
	if x.backend != nil {
		out[1] = x.backend.filters
	}
	return out
}

// asks reports whether an authorization service has to allow the request.
func (x *exchange) asks() bool {
	for _, f := range x.inTurn() {
		if f != nil && f.Auth != nil {
			return true
		}
	}
	return false
}

// filterAsked is filter for a request that an authorization service has to allow. Preflights carry nothing that it
// could decide by (Fetch, section 4.8).
func (x *exchange) filterAsked() *Failure {
	for i, f := range x.inTurn() {
		if f == nil {
			continue
		}
		if x.crossOrigin(f) {
			return nil
		}
		if f.Auth != nil {
			if f := x.authorize(f.Auth); f != nil {
				return f
			}
		}
		if x.answerFor(f); x.made {
			x.byBackend = i == 1
			return nil
		}
	}
	return nil
}

// filter answers in place of a backend where rule or backend say so: x.made is then set, and x.answer is the head.
func (x *exchange) filter() {
	for i, f := range x.inTurn() {
		if f == nil || x.made {
			continue
		}
		if x.crossOrigin(f) {
			return
		}
		if x.answerFor(f); x.made {
			x.byBackend = i == 1
		}
	}
}

// crossOrigin answers preflights where there is a policy for them, and reports whether it has.
func (x *exchange) crossOrigin(f *filters) bool {
	if f.cors == nil {
		return false
	}
	x.cors, x.corsOrigin = f.cors, x.req.Get("origin")
	return x.preflight(f.cors)
}

// answerFor answers in place of a backend where the filters do.
func (x *exchange) answerFor(f *filters) {
	switch {
	case f.Redirect != nil:
		x.redirect(f)
	case f.Direct != nil:
		h := x.fresh(f.Direct.Status)
		x.madeBody = f.Direct.Body
		if x.madeBody != "" {
			h.Add("content-type", "text/plain; charset=utf-8")
		}
		h.Length = int64(len(x.madeBody))
		x.made = true
	}
}

// fresh begins an answer of the proxy's own.
func (x *exchange) fresh(status int) *message.Head {
	h := &x.answer
	h.Reset()
	h.Status = status
	if status != 204 && status != 304 {
		h.Length = 0
	}
	return h
}

func (x *exchange) redirect(f *filters) {
	h := x.fresh(f.Redirect.Status)
	at := route.Place{Scheme: x.scheme(), Host: hostOf(x.req.Authority), Port: x.port, Path: x.req.Path, Prefix: x.prefix()}
	x.w.scratch = route.AppendLocation(x.w.scratch[:0], f.Redirect, f.redirectPath, at)
	h.Add("location", h.Keep(x.w.scratch))
	x.made = true
}

// scheme is what the client used.
func (x *exchange) scheme() string {
	if x.o.entry != nil && x.o.entry.socket.Kind.ByName() {
		return "https"
	}
	return "http"
}

// hostOf is an authority without its port.
func hostOf(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && strings.IndexByte(authority[i:], ']') < 0 {
		return authority[:i]
	}
	return authority
}

// prefix is the path prefix that the request matched the rule by.
func (x *exchange) prefix() string {
	if x.match < 0 || x.match >= len(x.rule.Matches) {
		return ""
	}
	p := &x.rule.Matches[x.match].Path
	if p.Type == model.Exact || p.Type == model.Prefix {
		return p.Value
	}
	return ""
}

// deliver sends the answer that was made here.
func (x *exchange) deliver() *Failure {
	h := &x.answer
	if x.verdict != nil {
		x.verdict.tell(h)
	}
	if x.byBackend && !x.backend.Response.IsZero() {
		route.Apply(&x.backend.Response, h)
	}
	if x.rule != nil && !x.rule.Response.IsZero() {
		route.Apply(&x.rule.Response, h)
	}
	if x.corsOrigin != "" && x.req.Method != "OPTIONS" {
		x.cors.share(h, x.corsOrigin)
	}
	x.rec.Status, x.answered = h.Status, true
	end := x.madeBody == "" || x.req.Method == "HEAD"
	if err := x.down.SendHead(h, end); err != nil {
		return x.clientFailure(err)
	}
	if !end {
		if err := x.down.SendData([]byte(x.madeBody), true); err != nil {
			return x.clientFailure(err)
		}
	}
	return nil
}

// shape makes the changes to the request that rule and backend ask for.
func (x *exchange) shape() {
	if x.rule == nil {
		return
	}
	if !x.rule.Request.IsZero() {
		route.Apply(&x.rule.Request, x.req)
	}
	x.rewrite(x.rule.filters)
	if x.backend == nil {
		return
	}
	if !x.backend.Request.IsZero() {
		route.Apply(&x.backend.Request, x.req)
	}
	x.rewrite(x.backend.filters)
}

// rewrite changes where the request goes; f may be nil.
func (x *exchange) rewrite(f *filters) {
	if f == nil || f.Rewrite == nil || x.opaque {
		return
	}
	if f.Rewrite.Host != "" {
		x.req.Authority = f.Rewrite.Host
	}
	if f.rewritePath != nil {
		x.w.scratch = f.rewritePath.Append(x.w.scratch[:0], x.req.Path, x.prefix())
		x.req.Path = x.req.Keep(x.w.scratch)
	}
}

// applies decides by the conditions of a fault; its shares are drawn in inject.
func (f *fault) applies(x *exchange) bool {
	if f.matches == nil {
		return true
	}
	_, _, ok := f.matches.Match(x.req, x.port)
	return ok
}

// drawn is true for a share of the calls.
func (w *worker) drawn(share float64) bool {
	return share > 0 && float64(w.random.Uint64()>>11)/(1<<53) < share
}

// inject delays or refuses a request on purpose.
func (x *exchange) inject(f *fault) *Failure {
	if f.Delay > 0 && x.w.drawn(f.DelayShare) {
		x.rec.Failure = flagFault
		x.sleep(f.Delay)
		x.rec.Failure = ""
		if x.gone {
			return x.clientFailure(errors.New("left during a delay made on purpose"))
		}
		if x.late {
			return x.timeoutFailure()
		}
	}
	if !x.w.drawn(f.AbortShare) {
		return nil
	}
	status := f.Status
	if x.grpcStatus = f.GRPC; f.GRPC != "" && status == 0 {
		status = 503 // for a client that does not speak gRPC
	}
	if f.Reset != 0 {
		x.resetBy = h2.ErrCode(f.Reset)
		return &Failure{"route", 0, flagFault, errOnPurpose}
	}
	if status == 0 {
		return nil
	}
	return &Failure{"route", status, flagFault, errOnPurpose}
}

var errOnPurpose = errors.New("a failure made on purpose")
