package proxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/route"
)

// informational passes 1xx answers on until the final head is there, which respond sends.
func (x *exchange) informational(h *message.Head) *Failure {
	for h.Status < 200 && h.Status != 101 {
		// 100 Continue and 103 Early Hints belong to the client (RFC 9110, section 15.2).
		if err := x.down.SendHead(h, false); err != nil {
			return x.clientFailure(err)
		}
		next, err := x.up.Head()
		if err != nil {
			return x.headFailure(err)
		}
		h = next
	}
	x.final = h
	return nil
}

// respond sends the answer to the client: head, content, trailers.
func (x *exchange) respond() *Failure {
	h := x.final
	x.rec.Status = h.Status
	x.rec.HeadAt = x.w.loop.Now()
	for _, d := range x.diffs {
		d.original.head(d, h)
	}
	x.shapeAnswer(h)
	if x.o.kind == fromMesh && !x.opaque {
		h.Del(failureHeader) // ours to say, not the program's
	}
	agreed := x.switched && (h.Status == 101 || h.Status/100 == 2)
	if x.switched && !agreed {
		x.switched = false
	}
	if agreed {
		return x.tunnel(h)
	}
	end := x.up.Done()
	x.answered = true
	if err := x.down.SendHead(h, end); err != nil {
		return x.clientFailure(err)
	}
	if !end {
		var to sender = x.down
		if len(x.diffs) > 0 {
			to = compared{x.down, x.diffs}
		}
		source, err := pump(to, x.up, &x.rec.ResponseBytes)
		if err != nil {
			return x.cut(source, err)
		}
	}
	x.grpcOutcome(h)
	return nil
}

// shapeAnswer makes the changes to the answer that rule and backend ask for.
func (x *exchange) shapeAnswer(h *message.Head) {
	if x.verdict != nil {
		x.verdict.tell(h)
	}
	if x.plan != nil || x.setCookie != "" {
		x.keepSession(h)
	}
	if x.rule == nil {
		return
	}
	if x.backend != nil && !x.backend.Response.IsZero() {
		route.Apply(&x.backend.Response, h)
	}
	if !x.rule.Response.IsZero() {
		route.Apply(&x.rule.Response, h)
	}
	if x.corsOrigin != "" {
		x.cors.share(h, x.corsOrigin)
	}
}

// tunnel joins both sides after a protocol switch, until each has ended.
func (x *exchange) tunnel(h *message.Head) *Failure {
	if err := x.accepted(h); err != nil {
		x.switched = false
		return &Failure{"receive", 502, flagBadAnswer, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), err)}
	}
	x.agree(h)
	x.timer.Stop() // what follows is not a request any more
	x.tryTimer.Stop()
	x.answered = true
	if err := x.down.SendHead(h, false); err != nil {
		return x.clientFailure(err)
	}
	if err := x.down.Flush(); err != nil {
		return x.clientFailure(err)
	}
	x.connected()
	x.watchAge()
	x.up.OnGone(x.upGone)
	x.startUpload()
	source, err := pump(x.down, x.up, &x.rec.ResponseBytes)
	if err != nil {
		f := x.cut(source, err)
		x.down.StopReceiving()
		x.down.Abort(abortInternal)
		x.up.Abort(abortCancel)
		return f
	}
	return nil
}

// whenUpGone ends a tunnel whose far end is reset while nobody reads it: it had ended its half before.
func (x *exchange) whenUpGone() {
	if !x.pumping {
		return // both have ended: what the socket calls a hangup is the ordinary end, and content may still be on its way
	}
	x.down.Abort(abortInternal)
	x.down.StopReceiving()
}

// agree writes the acceptance of a switch as the client's version of HTTP has it (RFC 8441, section 5).
func (x *exchange) agree(h *message.Head) {
	switch {
	case x.req.Protocol == "" || x.opaque: // CONNECT
		if !x.down.HTTP2() {
			h.Length = message.Unknown
		}
	case x.down.HTTP2():
		h.Status, h.Protocol = 200, ""
	default:
		h.Status, h.Protocol = 101, x.req.Protocol
	}
	if c, ok := x.up.(*h1conn); ok && x.req.Method != "POST" {
		c.tunnel()
	}
}

// cut says that an answer broke off within.
func (x *exchange) cut(source bool, err error) *Failure {
	if x.expired() {
		return &Failure{"respond", x.rec.Status, flagTimeout, x.timeoutFailure().Err}
	}
	if x.gone || !source {
		return &Failure{"respond", statusClientGone, flagClientGone, err}
	}
	if x.deadline.By == resilience.ByCaller && x.deadlinePassed() {
		x.late = true // the server, which knows the deadline too, was the first to act on it
		return &Failure{"receive", x.rec.Status, flagDeadline, x.timeoutFailure().Err}
	}
	return &Failure{"receive", x.rec.Status, flagTruncated, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), err)}
}

// grpcOutcome notes the status of a gRPC call: in the trailers, or in the head when there is nothing else.
func (x *exchange) grpcOutcome(h *message.Head) {
	if !strings.HasPrefix(h.Get("content-type"), "application/grpc") {
		return
	}
	for _, t := range x.up.Trailers() {
		if t.Name == "grpc-status" {
			x.rec.GRPCStatus = strings.Clone(t.Value)
			return
		}
	}
	x.rec.GRPCStatus = strings.Clone(h.Get("grpc-status"))
}

// fail answers for the upstream, or cuts an answer that has begun.
func (x *exchange) fail(f *Failure) {
	x.failed = f
	x.rec.Failure = f.Flag
	if x.rec.Err = f.Err; f.Flag == flagInternal {
		x.w.log.Error("exchange failed", "error", f)
	}
	_, raw := x.down.(*rawStream)
	switch {
	case x.resetBy != 0:
		if st, ok := x.down.(*h2stream); ok {
			st.abortBy(x.resetBy)
			return
		}
		x.down.Abort(abortInternal)
	case x.answered && f.Flag == flagDeadline && !raw && x.down.HTTP2() && isGRPC(x.req) && !isGRPCWeb(x.req):
		// The call's status is still to come, and says what a reset would not.
		x.rec.GRPCStatus = grpcStatus(504)
		text := fmt.Sprintf("weft: %s: %v", f.Flag, f.Err)
		if err := x.down.SendTrailers([]message.Field{{Name: "grpc-status", Value: x.rec.GRPCStatus}, {Name: "grpc-message", Value: grpcMessage(text)}}); err != nil {
			x.down.Abort(abortInternal)
		}
	case x.answered || raw: // a program's own protocol has no place for an answer of ours
		x.down.Abort(abortInternal)
	case f.Status == statusClientGone:
		x.rec.Status = statusClientGone
		x.down.Abort(abortCancel)
	default:
		x.rec.Status = f.Status
		x.answered = true
		if err := x.reply(f); err != nil && !errors.Is(err, errStopped) {
			x.down.Abort(abortInternal)
		}
	}
}

// refuse answers a request that cannot be taken at all.
func (x *exchange) refuse(f *Failure) {
	x.open()
	x.fail(f)
	x.end()
}
