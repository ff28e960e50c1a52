package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// origin is what the requests of one downstream connection have in common.
type origin struct {
	kind    originKind
	remote  netip.AddrPort
	dst     netip.AddrPort // fromCapture: the address the program called; fromGateway: what the PROXY protocol told
	local   netip.AddrPort // fromGateway: where the client connected to, if rules ask for it
	service model.ServiceName
	port    uint16         // fromUpstream: with service, what the listener stands for
	peer    model.Identity // fromMesh: who proved to be there
	peerID  string
	source  string // NAMESPACE/NAME its proxy last claimed
	entry   *entry // fromGateway: the socket it came in by
	sni     string // the server name the client asked for: of a gateway's TLS, or with hello
	hello   bool   // a program's connection begins with a hello of TLS
	client  string // fromGateway: the address of remote as text, once it has been asked for
	series  map[inboundKey]*telemetry.Series
}

type originKind uint8

const (
	fromCapture  originKind = iota // a program's connection, redirected here
	fromExplicit                   // a program that uses us as its HTTP proxy
	fromUpstream                   // a program that calls a local port standing for a service
	fromMesh                       // another proxy
	fromGateway                    // a client of a gateway's listener
	fromMirror                     // a copy of a request
	fromQuestion                   // a question about a request
	fromChecker                    // a health check
)

// exchange is one request on its way. It is reused; nothing of it outlives end.
type exchange struct {
	w *worker
	bound
	rec    telemetry.Record
	answer message.Head
	tried  []*endpoint
	replay []byte // content sent so far, kept for another attempt

	contenders []*contender // tries that run at once

	course
}

// course is what an exchange knows of its request: all that the next one does not keep.
type course struct {
	o    *origin
	down stream
	req  *message.Head // the client's request, as changed on its way

	// Found by route.
	service *service      // asked for; nil when it is not one of the mesh
	gateway *gateListener // fromGateway: the listener that takes the request
	port    uint16
	rule    *rule          // nil: no rule, straight to the service
	match   int            // of the rule, by which it took the request; -1: it has none
	backend *backend       // of the rule
	plan    *plan          // what policies ask for; nil: nothing
	target  *service       // that answers
	set     *endpointSet   // its endpoints
	tport   uint16         // its port
	fixed   *endpoint      // the only endpoint there can be: the local program, or one outside the mesh
	inbound *model.Inbound // fromMesh
	opaque  bool           // TCP

	// Changed by forward.
	ep        *endpoint
	try       try
	tryStart  time.Time
	entered   bool // counted into the bounds of the service
	failed    *Failure
	up        stream
	final     *message.Head // of the answer
	sentAll   bool          // all content is in replay
	canRetry  bool
	noContent bool // the request has none

	websocketKey string // of the challenge we made; see challenge

	diffs []*comparison // with the answers of mirrors

	local  // what is made here of request and answer
	timing // how long it may take

	answered bool // a final head went to the client
	gone     bool // the client gave up
	switched bool // a tunnel from here on
	pumping  bool // the upload task runs
	main     *loop.Task
}

// bound are an exchange's own functions, bound once, so that using them allocates nothing.
type bound struct{ uploadRest, clientGone, onLate, onTryLate, onSlept, onIdle, upGone func() }

func (w *worker) newExchange(o *origin, down stream) *exchange {
	var x *exchange
	if n := len(w.exchanges); n > 0 {
		x = w.exchanges[n-1]
		w.exchanges = w.exchanges[:n-1]
	} else {
		x = &exchange{w: w}
		x.bound = bound{x.uploadTask, x.onClientGone, x.whenLate, x.whenTryLate, x.whenSlept, x.whenIdle, x.whenUpGone}
	}
	x.o, x.down = o, down
	w.active++
	return x
}

func (w *worker) freeExchange(x *exchange) {
	w.active--
	x.course = course{}
	x.rec.Reset()
	x.tried = x.tried[:0]
	if x.replay = x.replay[:0]; cap(x.replay) > maxReplay {
		x.replay = nil
	}
	if len(w.exchanges) < maxPooled {
		w.exchanges = append(w.exchanges, x)
	}
}

// serve takes one request through the flow. x.req is set.
func (x *exchange) serve() {
	x.open()
	x.down.OnGone(x.clientGone)
	f := x.overloaded()
	if f == nil && x.o.kind < fromMirror {
		if f = x.route(); f == nil {
			f = x.protect()
		}
	}
	switch {
	case f != nil:
	case x.made:
		f = x.deliver()
	default:
		x.shape()
		x.watchIdle()
		x.startMirrors()
		x.feed(x.replay, false) // what is known of the content already
		if f = x.forward(); f == nil {
			f = x.respond()
		}
	}
	if f != nil {
		x.fail(f)
	}
	x.end()
}

var errBuffered = errors.New("too much waits in memory for others to take it")

// overloaded refuses a request early when memory is short: it would wait with the rest.
func (x *exchange) overloaded() *Failure {
	if x.w.buffered <= x.w.e.o.MaxBuffered {
		return nil
	}
	return &Failure{"read", 503, flagOverload, errBuffered}
}

// forward sends the request to one endpoint after another until one has taken it and given an answer that is
// to be passed on. x.final is then the head of the answer.
func (x *exchange) forward() *Failure {
	x.canRetry = true
	if f := x.enter(); f != nil {
		return f
	}
	var last *Failure
	for attempt := 1; ; attempt++ {
		fresh := x.rec.Failure != "" // the last attempt met a stale connection
		f := x.attempt(fresh)
		if f != nil && f.Stage == "pick" && last != nil {
			return last // nobody else is left to try: what failed says more
		}
		last, x.rec.Attempts = f, attempt
		x.heed(f)
		if !x.again(f, attempt) {
			if f == nil && x.rec.Failure != flagBudget {
				x.rec.Failure = ""
			}
			return f
		}
		x.settle(f, x.final)
		x.rec.Failure = ""
		if f != nil {
			x.rec.Failure = f.Flag
		}
		x.release(abortCancel)
		if !x.backOff(attempt, f) {
			return x.headFailure(errStopped)
		}
	}
}

// attempt makes one try: pick, send, wait for the head of the answer.
func (x *exchange) attempt(fresh bool) *Failure {
	if x.fixed != nil {
		x.ep = x.fixed
	} else if x.ep = x.pick(); x.ep == nil {
		return x.noEndpoint()
	}
	x.startTry()
	x.grpcStatus = "" // of the last try
	up, reused, err := x.ep.open(x, fresh)
	if err != nil {
		if x.gone || x.expired() {
			return x.headFailure(err)
		}
		x.tried = append(x.tried, x.ep)
		if errors.Is(err, errOverload) {
			return &Failure{"connect", 503, flagOverload, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), err)}
		}
		return &Failure{"connect", 503, flagConnect, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), err)}
	}
	x.up = up
	x.ep.inflight++
	if f := x.send(); f != nil && (x.gone || f.Stage == "read" || !up.Answered()) {
		return x.stale(f, reused)
	}
	h, reused, err := x.await(reused)
	if err != nil {
		return x.stale(x.headFailure(err), reused)
	}
	if h.Status >= 500 && x.ep.refusedBy(h) {
		x.tried = append(x.tried, x.ep)
		return &Failure{"receive", 503, flagRefused, fmt.Errorf("%s of %s: %s", x.ep.describe(), x.where(), h.Get(failureHeader))}
	}
	if f := x.refusedTunnel(h); f != nil {
		return f
	}
	if x.set.usesEWMA() {
		x.ep.latency.Observe(x.w.loop.Now().Sub(x.tryStart), x.w.loop.Now(), x.set.pool.upstream.Balance.Decay)
	}
	return x.informational(h)
}

// stale marks a failure on a connection that had been used before: the peer may have closed it while the
// request was on its way, which a fresh connection mends (RFC 9112, section 9.3.1).
func (x *exchange) stale(f *Failure, reused bool) *Failure {
	if reused && (f.Flag == flagReset) {
		f.Stage = "stale"
	} else {
		x.tried = append(x.tried, x.ep)
	}
	return f
}

// idempotent methods may be repeated (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// send sends the head and what is here of the content; the rest follows from a task of its own, so that an
// answer can begin before the request has ended.
func (x *exchange) send() *Failure {
	x.prepare()
	x.tellDeadline()
	x.switched = x.req.Protocol != "" || x.req.Method == "CONNECT" || x.opaque
	if x.switched {
		return x.propose()
	}
	first := len(x.replay) == 0
	ended := first && x.down.Done() || !first && x.sentAll
	if err := x.up.SendHead(x.req, ended && first); err != nil {
		return x.sendFailure(err)
	}
	if !first {
		if err := x.up.SendData(x.replay, x.sentAll); err != nil {
			return x.sendFailure(err)
		}
	}
	if x.noContent = ended && first; ended {
		x.endShadows(nil, true)
		return nil
	}
	return x.upload()
}

// maxReplay bounds the content kept for another attempt.
const maxReplay = 64 << 10

// upload sends the content that is here already and starts a task for the rest.
func (x *exchange) upload() *Failure {
	for x.down.Buffered() && len(x.replay) < maxReplay {
		p, err := x.down.Data()
		switch {
		case err == io.EOF:
			x.sentAll = true
			x.endShadows(x.down.Trailers(), true)
			if err := x.up.SendTrailers(x.down.Trailers()); err != nil {
				return x.sendFailure(err)
			}
			x.canRetry = x.canRetry && len(x.down.Trailers()) == 0
			return nil
		case err != nil:
			return x.clientFailure(err)
		}
		x.rec.RequestBytes += uint64(len(p))
		if len(x.replay)+len(p) <= maxReplay {
			x.replay = append(x.replay, p...)
		} else {
			x.canRetry = false
		}
		end := x.down.Done()
		x.sentAll = end
		x.feed(p, end)
		if err := x.up.SendData(p, end); err != nil {
			return x.sendFailure(err)
		}
		if end {
			return nil
		}
	}
	if err := x.up.Flush(); err != nil {
		return x.sendFailure(err)
	}
	x.canRetry = false
	x.startUpload()
	return nil
}

func (x *exchange) startUpload() {
	x.pumping = true
	x.w.loop.Go(x.uploadRest)
}

// uploadTask runs beside the exchange's own task until the request's content has ended.
func (x *exchange) uploadTask() {
	var to sender = x.up
	if len(x.shadows) > 0 {
		to = copier{x.up, x}
	}
	source, err := pump(to, x.down, &x.rec.RequestBytes)
	switch {
	case err == nil:
	case source && !errors.Is(err, errStopped):
		// The client broke off within its request: the upstream must not take it for whole.
		x.onClientGone()
	case !source && x.switched:
		x.up.Abort(abortCancel)
	}
	x.pumping = false
	x.w.loop.Wake(x.main)
}

// onClientGone gives up on behalf of a client that has left.
func (x *exchange) onClientGone() {
	x.gone = true
	x.abortAll(abortCancel)
	x.w.loop.Wake(x.parked)
}

// pump moves content from src to dst until it ends. source tells which side failed.
func pump(dst sender, src receiver, count *uint64) (source bool, err error) {
	for {
		if !src.Buffered() {
			if err := dst.Flush(); err != nil {
				return false, err
			}
		}
		p, err := src.Data()
		if err == io.EOF {
			if t := src.Trailers(); len(t) > 0 {
				return false, dst.SendTrailers(t)
			}
			return false, dst.SendData(nil, true)
		}
		if err != nil {
			return true, err
		}
		*count += uint64(len(p))
		end := src.Done()
		if err := dst.SendData(p, end); err != nil || end {
			return false, err
		}
	}
}

// release gives up the present attempt's stream.
func (x *exchange) release(reason abortReason) {
	if x.up == nil {
		return
	}
	if !x.up.Done() || x.pumping {
		x.up.Abort(reason)
	}
	x.up.Finish()
	x.ep.inflight--
	x.up = nil
}

// end finishes the exchange: the upload task, the streams, and the record, in this order.
func (x *exchange) end() {
	x.down.OnGone(nil)
	x.stopTimers()
	x.main = x.w.loop.Current()
	if x.pumping && !x.switched {
		// The answer is complete (or has failed): nobody wants the rest of the request.
		x.down.StopReceiving()
		x.up.Abort(abortNoError)
	}
	for x.pumping {
		x.w.loop.Park()
	}
	x.settle(x.failed, x.final)
	if x.up != nil {
		x.up.OnGone(nil)
		x.up.Finish()
		x.ep.inflight--
		x.up = nil
	}
	x.endShadows(nil, false)
	for _, d := range x.diffs {
		d.conclude(x.w, &d.original, x)
	}
	x.leave()
	if x.o.kind != fromChecker {
		x.observe()
	}
	x.down.Finish()
}

// sendFailure says that the upstream did not take the request.
func (x *exchange) sendFailure(err error) *Failure {
	return x.headFailure(err)
}

// headFailure says that no answer came.
func (x *exchange) headFailure(err error) *Failure {
	switch {
	case x.gone:
		return x.clientFailure(err)
	case x.expired():
		return x.timeoutFailure()
	}
	var reset *resetError
	if errors.As(err, &reset) {
		if reset.code == h2.ErrCodeCancel && x.deadlinePassed() {
			x.late = true
			return x.timeoutFailure()
		}
		x.grpcStatus = grpcReset(reset.code)
	}
	if reset != nil && reset.code == h2.ErrCodeRefusedStream {
		return &Failure{"receive", 503, flagRefused, fmt.Errorf("%s of %s refused the request", x.ep.describe(), x.where())}
	}
	if bad := badRequest(err); bad != nil {
		return &Failure{"receive", 502, flagBadAnswer, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), bad.Err)}
	}
	if err == io.EOF {
		err = errors.New("closed the connection without an answer")
	}
	return &Failure{"receive", 502, flagReset, fmt.Errorf("%s of %s: %w", x.ep.describe(), x.where(), err)}
}

// clientFailure says that the client is at fault, or gone.
func (x *exchange) clientFailure(err error) *Failure {
	if bad := badRequest(err); bad != nil && !x.gone {
		return bad
	}
	return &Failure{"read", statusClientGone, flagClientGone, err}
}

// where names what was asked for, for messages.
func (x *exchange) where() string {
	switch {
	case x.target != nil && x.target.through != nil:
		return x.target.Name.String() + " by the egress gateway " + x.target.through.Name.String()
	case x.target != nil:
		return x.target.Name.String()
	case x.inbound != nil:
		return fmt.Sprintf("the local program on port %d", x.inbound.Port)
	}
	return x.req.Authority
}
