package proxy

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/envoyrpc"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// Some requests go on only when a service has been asked about them. The question is an exchange of its own, in a task of
// its own, by the same flow and the same connections as any request to that service; the request's task is parked until
// there is an answer, its client leaves or its time is over. A question is asked once for a request, however often that is
// tried; it is repeated only when it did not reach the service, or a connection broke that had been idle.

// inquiry is the client's side of a question.
type inquiry struct {
	shadow
	status      int
	grpcStatus  string
	grpcMessage string
	fields      []message.Field // of the answer's head
	content     []byte
	over        bool // there was more content than may be
	failed      error
	expired     bool // failed: it took too long
	hurried     bool // the request's own deadline left it less time than it was to have
	done        bool
	waiting     func() // wakes who asked; nil when nobody waits
}

// maxAnswer bounds the content of an answer.
const maxAnswer = envoyrpc.MaxMessage + 5

// ask sends a question to a port of a service and waits for the answer, which q then holds, with q.failed if there is none.
// It fails when the request itself is over.
func (x *exchange) ask(q *inquiry, s *service, port uint16, timeout time.Duration) *Failure {
	x.begin(q, s, port, timeout)
	for !q.done && !x.gone && !x.late {
		x.parkFor()
	}
	return x.heard(q, s)
}

// parkFor parks the request's task until a question of its own, its client or its deadline wakes it.
func (x *exchange) parkFor() {
	x.parked = x.w.loop.Current()
	x.w.loop.Park()
	x.parked = nil
}

// begin sends a question on its way. Whoever asks waits with parkFor and then calls heard.
func (x *exchange) begin(q *inquiry, s *service, port uint16, timeout time.Duration) {
	w := x.w
	left, _ := x.deadline.Left(w.loop.Now().Sub(x.rec.Start), 0)
	q.hurried = left < timeout
	timeout = max(min(timeout, left), time.Millisecond)
	for _, name := range [...]string{"x-request-id", "traceparent", "tracestate", "b3"} {
		if v := x.req.Get(name); v != "" {
			q.head.Set(name, q.head.Keep([]byte(v)))
		}
	}
	c := w.newExchange(&origin{kind: fromQuestion, remote: x.o.remote, service: s.Name, port: port}, q)
	q.x, c.req = c, &q.head
	c.aim(s, s.pool, nil, port)
	c.service, c.port = s, port
	c.deadline = resilience.NewDeadline(0, false, timeout)
	t := w.loop.Current()
	q.waiting = func() { w.loop.Wake(t) }
	w.loop.Go(func() {
		c.startTimeout(timeout)
		c.serve()
		q.conclude(c)
		w.freeExchange(c)
	})
}

// heard ends the wait for an answer, which has come or is not wanted any more. It fails when the request itself is over.
func (x *exchange) heard(q *inquiry, s *service) *Failure {
	q.waiting = nil
	if !q.done {
		q.x.onClientGone() // nobody wants the answer any more
	}
	switch {
	case x.gone:
		return x.clientFailure(fmt.Errorf("left while %s was asked", s.Name))
	case x.late, x.deadlinePassed(), q.hurried && q.timedOut():
		x.late = true // the service, or its client here, may have noticed before our own timer does
		return x.timeoutFailure()
	}
	return nil
}

// timedOut reports whether the question took longer than it might.
func (q *inquiry) timedOut() bool { return q.expired || q.grpcStatus == "4" }

// conclude notes how the exchange of the question ended.
func (q *inquiry) conclude(c *exchange) {
	switch {
	case c.failed != nil:
		q.failed, q.expired = c.failed.Err, c.failed.Flag == flagTimeout
	case q.over:
		q.failed = fmt.Errorf("its answer is larger than %d bytes", maxAnswer)
	}
	q.done, q.cut, q.queue = true, true, nil
	if q.waiting != nil {
		q.waiting()
	}
}

// callGRPC makes q a call with one message.
func (q *inquiry) callGRPC(authority, path string, request []byte) {
	q.http2 = true
	h := &q.head
	h.Reset()
	h.Method, h.Scheme, h.Authority, h.Path = "POST", "http", authority, path
	h.Add("content-type", grpcPrefix)
	h.Add("te", "trailers")
	h.Add("user-agent", "weft-proxy")
	q.feed(envoyrpc.AppendFrame(nil, request), true)
}

// reply returns the message that answered a call.
func (q *inquiry) reply() ([]byte, error) {
	switch {
	case q.failed != nil:
		return nil, q.failed
	case q.grpcStatus != "0":
		return nil, fmt.Errorf("it answered HTTP status %d, gRPC status %q %q", q.status, clipped(q.grpcStatus), telemetry.ShownValue("grpc-message", q.grpcMessage))
	}
	return envoyrpc.Unframe(q.content)
}

func (q *inquiry) SendHead(h *message.Head, _ bool) error {
	if q.status = h.Status; h.Status < 200 {
		return nil
	}
	for _, f := range h.Fields {
		q.fields = append(q.fields, message.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value)})
	}
	q.told(q.fields)
	return nil
}

func (q *inquiry) SendData(p []byte, _ bool) error {
	if q.over = q.over || len(q.content)+len(p) > maxAnswer; !q.over {
		q.content = append(q.content, p...)
	}
	return nil
}

func (q *inquiry) SendTrailers(t []message.Field) error {
	q.told(t)
	return nil
}

// told takes the status of a call from the fields that have it: trailers, or the head of an answer without content.
func (q *inquiry) told(fields []message.Field) {
	for _, f := range fields {
		switch f.Name {
		case "grpc-status":
			q.grpcStatus = strings.Clone(f.Value)
		case "grpc-message":
			q.grpcMessage = strings.Clone(f.Value)
		}
	}
}

// verdict is what a service that was asked has to say to the client.
type verdict struct {
	fields  []message.Field // to add
	options []written       // to write as they say
	body    []byte          // of an answer of ours; nil: the failure's text
}

// tell writes the fields of the verdict into an answer.
func (v *verdict) tell(h *message.Head) {
	for _, f := range v.fields {
		if f.Name == "content-type" {
			h.Set(f.Name, f.Value)
		} else {
			h.Add(f.Name, f.Value)
		}
	}
	for _, o := range v.options {
		write(h, o.Field, o.action)
	}
}

// fieldOf is a header field that a service asks for, in the form that messages have it. ok is false for what it may not
// ask for: what frames a message, what routes it, what proxies tell each other, and what is no field at all.
func fieldOf(h envoyrpc.Header) (f message.Field, ok bool) {
	f = message.Field{Name: strings.ToLower(h.Name), Value: strings.Trim(h.Value, " \t")}
	switch f.Name {
	case "", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "content-length", "host", "grpc-status", "grpc-message":
		return f, false
	}
	if strings.HasPrefix(f.Name, "weft-") || strings.ContainsAny(f.Value, "\x00\r\n") {
		return f, false
	}
	for i := range len(f.Name) {
		if c := f.Name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return f, false
		}
	}
	return f, true
}

// fieldsOf are the fields that a service may ask for.
func fieldsOf(hs []envoyrpc.Header) []message.Field {
	var out []message.Field
	for _, h := range hs {
		if f, ok := fieldOf(h); ok {
			out = append(out, f)
		}
	}
	return out
}

// The results of questions, as metrics and the access log have them.
const (
	resultAllowed    = "allowed"
	resultDenied     = "denied"
	resultUnanswered = "unanswered"
	resultUnasked    = "unasked" // the request has nothing to be asked about
)

// asked notes the result of a question.
func (x *exchange) asked(kind string, s model.ServiceName, name, result string) {
	x.w.checks.Count(telemetry.CheckKey{Service: s.String(), Name: name, Kind: kind, Result: result})
	note := kind + " " + name + ": " + result
	if x.rec.Checks != "" {
		note = x.rec.Checks + ", " + note
	}
	x.rec.Checks = note
}

// unanswered tells the log of a question without an answer, ten times a minute at most.
func (x *exchange) unanswered(kind, name string, s model.ServiceName, err error, then string) {
	if x.w.silent.take(10, x.w.loop.Now()) {
		x.w.log.Warn("a service that is asked about requests did not answer", "kind", kind, "name", name, "service", s.String(), "error", err, "request", then)
	}
}

var errNoService = errors.New("it is not known here")

// Checks returns each loop's counts of how questions about requests were answered.
func (e *Engine) Checks() []telemetry.Checks {
	var out []telemetry.Checks
	for _, w := range e.workers {
		w.loop.Call(func() { out = append(out, maps.Clone(w.checks)) })
	}
	return out
}
