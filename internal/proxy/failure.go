package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/h1"
	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// Failure is an answer the proxy makes itself, or a connection it cannot serve: where in the flow, what the
// client is told, the flag that metrics and logs carry, and the cause.
type Failure struct {
	Stage  string // "route", "pick", "connect", "send", "receive"
	Status int    // HTTP status for the client
	Flag   string // short and stable: see docs/reference/failures.md
	Err    error
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %s: %v", f.Stage, f.Flag, f.Err) }
func (f *Failure) Unwrap() error { return f.Err }

// The flags. Each stands in docs/reference/failures.md with its cause and remedy.
const (
	flagNoRoute      = "no_route"                  // no rule of the service matches: 404
	flagBadBackend   = "bad_backend"               // the rule names a backend that does not exist: 500
	flagNoService    = "no_service"                // the address is no service of the mesh: 502
	flagRegistryOnly = "registry_only"             // it is no service, and the workload may call nothing else: 502
	flagNoEndpoints  = "no_endpoints"              // nothing serves it: 503
	flagNoEgress     = "no_egress"                 // the gateway by which it leaves the mesh is not there: 503
	flagConnect      = "connect_failed"            // no endpoint could be reached: 503
	flagRefused      = "refused"                   // the endpoint's proxy did not take the request: 503
	flagReset        = "upstream_reset"            // the connection broke before the answer: 502
	flagTruncated    = "upstream_cut"              // ... or within it: the client's stream is cut too
	flagBadAnswer    = "bad_response"              // the answer was malformed: 502
	flagClientGone   = telemetry.FailureClientGone // the client left first: 499, nobody's failure
	flagBadRequest   = "bad_request"               // malformed: 400, 431, ...
	flagBadHandshake = "bad_handshake"             // a gateway's client did not complete TLS: no answer
	flagTimeout      = "timeout"                   // it took longer than a policy allows: 504
	flagLimit        = "upstream_limit"            // a bound of the service was reached: 503
	flagRateLimit    = "rate_limited"              // a rate limit said no: 429
	flagDenied       = "denied"                    // an authorization service said no: 403, or as it says
	flagUnchecked    = "unchecked"                 // a service that has to be asked first did not answer: 503
	flagBudget       = "retry_budget"              // the answer stands because the budget for retries is used up
	flagDeadline     = "deadline"                  // the caller does not wait any longer: 504
	flagFault        = "fault"                     // made on purpose by a policy
	flagOverload     = "overload"                  // a bound was reached: 503
	flagNotInbound   = "not_served_here"           // the mesh request names a port this workload does not serve: 502
	flagDraining     = "draining"                  // shutting down: 503
	flagInternal     = "internal"                  // a defect of ours
	statusClientGone = 499
)

// failureHeader tells clients and operators that the answer is the proxy's own.
const failureHeader = "weft-failure"

// grpcStatus maps the status of an answer of ours to gRPC's (gRPC over HTTP/2, "HTTP2 errors"; the mapping
// of HTTP codes is that of the gRPC documents, statuscodes).
func grpcStatus(status int) string {
	switch status {
	case 400:
		return "13" // INTERNAL
	case 401:
		return "16" // UNAUTHENTICATED
	case 403:
		return "7" // PERMISSION_DENIED
	case 404:
		return "12" // UNIMPLEMENTED
	case 429, 502, 503:
		return "14" // UNAVAILABLE
	case 504:
		return "4" // DEADLINE_EXCEEDED: our own timeouts, not a gateway's behind us
	}
	return "2" // UNKNOWN
}

// grpcReset maps the code of a reset to gRPC's status (gRPC over HTTP/2, "Errors").
func grpcReset(code h2.ErrCode) string {
	switch code {
	case h2.ErrCodeCancel:
		return "1" // CANCELLED
	case h2.ErrCodeEnhanceYourCalm:
		return "8" // RESOURCE_EXHAUSTED
	case h2.ErrCodeInadequateSecurity:
		return "7" // PERMISSION_DENIED
	case h2.ErrCodeRefusedStream:
		return "14" // UNAVAILABLE
	}
	return "13" // INTERNAL
}

// reply answers for the upstream. The text says what failed and where, not more than an operator may
// see of the mesh: names of services and rules, no addresses.
func (x *exchange) reply(f *Failure) error {
	h := &x.answer
	h.Reset()
	text := fmt.Sprintf("weft: %s: %v\n", f.Flag, f.Err)
	web := x.req != nil && isGRPCWeb(x.req)
	if x.req != nil && isGRPC(x.req) && (x.down.HTTP2() || web) {
		h.Status = 200
		// The request's own: clients that encode messages otherwise than by protobuf take no other for an answer.
		kind, _, _ := strings.Cut(x.req.Get("content-type"), ";")
		if web { // over HTTP/1.1 too; an answer without messages has its status in the head (gRPC-Web)
			h.Length = 0
		}
		h.Add("content-type", kind)
		if x.rec.GRPCStatus = x.grpcStatus; x.rec.GRPCStatus == "" {
			x.rec.GRPCStatus = grpcStatus(f.Status)
		}
		h.Add("grpc-status", x.rec.GRPCStatus)
		h.Add("grpc-message", grpcMessage(text[:len(text)-1]))
		h.Add(failureHeader, f.Flag)
		if v := x.verdict; v != nil {
			v.tell(h)
			h.Set("content-type", kind)
		}
		return x.down.SendHead(h, true)
	}
	h.Status = f.Status
	h.Add("content-type", "text/plain; charset=utf-8")
	h.Add(failureHeader, f.Flag)
	if v := x.verdict; v != nil {
		if v.tell(h); v.body != nil {
			text = string(v.body)
		}
	}
	h.Length = int64(len(text))
	if x.retryAfter > 0 && h.Get("retry-after") == "" {
		// In whole seconds, and rather late than early (RFC 9110, section 10.2.3).
		h.Add("retry-after", strconv.FormatInt(int64((x.retryAfter+time.Second-1)/time.Second), 10))
	}
	if x.req != nil && x.req.Method == "HEAD" {
		return x.down.SendHead(h, true)
	}
	if err := x.down.SendHead(h, false); err != nil {
		return err
	}
	return x.down.SendData([]byte(text), true)
}

// grpcMessage percent-encodes as gRPC over HTTP/2 asks for grpc-message.
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// badRequest turns a codec's error into the answer it deserves; nil if none can be given.
func badRequest(err error) *Failure {
	var bad *h1.Error
	if errors.As(err, &bad) {
		return &Failure{"read", bad.Status, flagBadRequest, errors.New(bad.Reason)}
	}
	return nil
}
