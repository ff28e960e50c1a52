package istio

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// defaultRetries is what Istio does where a route says nothing of retries (MeshConfig, defaultHttpRetryPolicy).
func defaultRetries() *model.Retry {
	return &model.Retry{
		Attempts: 2, On: []model.RetryOn{model.RetryConnect, model.RetryRefused, model.RetryUnavailable, model.RetryCancelled},
		AnyMethod: true, Elsewhere: true,
	}
}

// policy reads how the requests of a rule are protected.
func (c *checker) policy(in *httpRoute, f *document.Field) *model.Policy {
	out := &model.Policy{Retry: defaultRetries(), Ref: model.PolicyRef{
		Kind: c.doc.Kind, Namespace: c.doc.Namespace, Name: c.doc.Name, File: c.doc.File, Line: c.doc.LineOf(f),
	}}
	if in.Timeout != nil {
		out.Timeout, out.NoTimeout = in.Timeout.Duration, in.Timeout.Duration == 0
	}
	if in.Retries != nil {
		c.retries(in.Retries, out, f.Key("retries"))
	}
	if in.Fault != nil {
		c.fault(in.Fault, out, f.Key("fault"))
	}
	return out
}

func (c *checker) retries(in *httpRetry, out *model.Policy, f *document.Field) {
	r := out.Retry
	r.Attempts, r.Backoff = int(in.Attempts), of(in.Backoff)
	if in.Attempts < 0 || in.Attempts > maxAttempts {
		c.add(f.Key("attempts"), fmt.Sprintf("wants an integer 0 to %d, has %d", maxAttempts, in.Attempts), "more would multiply the load of a service that fails")
	}
	if in.Backoff != nil && in.Backoff.Duration < time.Millisecond {
		c.add(f.Key("backoff"), "is less than 1ms", "write 1ms or more, for example 25ms")
	}
	out.BackendTimeout = of(in.PerTryTimeout)
	r.Remote = in.RetryRemoteLocalities != nil && *in.RetryRemoteLocalities
	if in.RetryIgnorePreviousHosts != nil {
		r.Elsewhere = *in.RetryIgnorePreviousHosts
	}
	if in.RetryOn == "" {
		return
	}
	r.On = nil
	for word := range strings.SplitSeq(in.RetryOn, ",") {
		c.retryOn(strings.TrimSpace(word), r, f.Key("retryOn"))
	}
	if len(r.On)+len(r.Codes) == 0 {
		r.Attempts = 0 // no condition is left: an empty list would mean the default
	}
}

// retryWords are the conditions of Envoy's that are conditions of the model's, most by the same name.
func retryWords() []string {
	return []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
		"refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
		"deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	}
}

func (c *checker) retryOn(word string, r *model.Retry, f *document.Field) {
	if code, err := strconv.Atoi(word); err == nil {
		if code < 100 || code > 599 {
			c.add(f, fmt.Sprintf("%d is no status", code), "write 100 to 599")
			return
		}
		r.Codes = append(r.Codes, code)
		return
	}
	on := model.RetryOn(word)
	switch {
	case word == "retriable-status-codes": // says nothing but that the codes beside it count
		return
	case word == "retriable-headers":
		c.add(f, "the condition retriable-headers is not supported in this version of Weft", "name statuses, or conditions such as 5xx")
		return
	case word == "reset-before-request": // what the server had not begun
		on = model.RetryRefused
	case !slices.Contains(retryWords(), word):
		c.add(f, fmt.Sprintf("unknown condition %q", clip(word)), document.DidYouMean(word, retryWords()))
		return
	}
	if !slices.Contains(r.On, on) {
		r.On = append(r.On, on)
	}
}

func (c *checker) fault(in *httpFault, out *model.Policy, f *document.Field) {
	if in.Delay == nil && in.Abort == nil {
		c.add(f, "says nothing", "write delay or abort")
		return
	}
	var fault model.Fault
	if in.Delay != nil {
		c.delay(in.Delay, &fault, f.Key("delay"))
	}
	if in.Abort != nil {
		c.abort(in.Abort, &fault, f.Key("abort"))
	}
	out.Faults = append(out.Faults, fault)
}

func (c *checker) delay(in *faultDelay, out *model.Fault, f *document.Field) {
	c.refuseAny(f, "Delay", "exponentialDelay")
	c.oneOf(f, "percent", "percentage")
	switch {
	case in.FixedDelay == nil:
		c.add(f.Key("fixedDelay"), "is missing", "write a duration such as 5s")
	case in.FixedDelay.Duration < time.Millisecond:
		c.add(f.Key("fixedDelay"), "is less than 1ms", "write 1ms or more, for example 5s")
	}
	out.Delay = of(in.FixedDelay)
	switch {
	case in.Percentage != nil:
		out.DelayShare = c.share(in.Percentage, f.Key("percentage"))
	case c.doc.Has(f.Key("percent")):
		out.DelayShare = c.share(&percent{Value: float64(in.Percent)}, f.Key("percent"))
	default:
		c.noShare(f, "delayed")
	}
}

func (c *checker) abort(in *faultAbort, out *model.Fault, f *document.Field) {
	c.oneOf(f, "httpStatus", "grpcStatus", "http2Error")
	switch {
	case in.HTTPStatus != nil:
		out.Status = int(*in.HTTPStatus)
		if out.Status < 200 || out.Status > 599 {
			c.add(f.Key("httpStatus"), fmt.Sprintf("wants a status 200 to 599, has %d", out.Status), "")
		}
	case in.GRPCStatus != nil:
		out.GRPC = c.grpcStatus(*in.GRPCStatus, f.Key("grpcStatus"))
	case in.HTTP2Error != nil:
		if out.Reset = document.HTTP2Error(*in.HTTP2Error); out.Reset == 0 {
			c.add(f.Key("http2Error"), fmt.Sprintf("unknown error %q", clip(*in.HTTP2Error)), "known are "+strings.Join(document.HTTP2Errors(), ", "))
		}
	default:
		c.add(f, "has no status", "write httpStatus, grpcStatus or http2Error")
	}
	if in.Percentage == nil {
		c.noShare(f, "aborted")
		return
	}
	out.AbortShare = c.share(in.Percentage, f.Key("percentage"))
}

// noShare warns of a fault that hits nobody (HTTPFaultInjection: without a percentage no request is).
func (c *checker) noShare(f *document.Field, what string) {
	c.problems = append(c.problems, c.doc.Problem(f, "has no percentage: no request is "+what).With("write percentage: {value: 100} for all").AsWarning())
}

// grpcStatus reads a status by name or number (google.golang.org/grpc/codes) as its number.
func (c *checker) grpcStatus(s string, f *document.Field) string {
	names := []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED",
	}
	for i, name := range names {
		if s == name || s == strconv.Itoa(i) {
			return strconv.Itoa(i)
		}
	}
	c.add(f, fmt.Sprintf("unknown status %q", clip(s)), document.DidYouMean(s, names))
	return ""
}
