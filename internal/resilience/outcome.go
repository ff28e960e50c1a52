package resilience

// Failure is how a try ended without an answer.
type Failure uint8

const (
	Answered Failure = iota // it did not: there is an answer, good or bad
	Connect                 // no connection came to be
	Refused                 // the server said that it had not begun (REFUSED_STREAM, or a GOAWAY before it)
	Reset                   // the connection or stream broke before an answer
	Timeout                 // the time for the try was over
)

// String names it as metrics and messages do.
func (f Failure) String() string {
	switch f {
	case Answered:
		return "answered"
	case Connect:
		return "connect-failure"
	case Refused:
		return "refused-stream"
	case Reset:
		return "reset"
	case Timeout:
		return "timeout"
	}
	return "unknown failure"
}

// Outcome is the end of one try of a request.
type Outcome struct {
	Failure Failure
	Status  int    // of the answer
	GRPC    string // its gRPC status, as the field grpc-status has it ("14"); "" when it has none
	Probe   bool   // Ejector.Begin said that this was one
}

// effective is the HTTP status that stands for the outcome: that of a gRPC answer is in its own status (the
// mapping of Envoy's outlier detection, with UNKNOWN and DATA_LOSS as the server errors that they are).
func (o Outcome) effective() int {
	switch {
	case o.Failure != Answered:
		return 503
	case o.GRPC == "" || o.GRPC == "0" || o.Status >= 400:
		return o.Status
	}
	switch o.GRPC {
	case "2", "13", "15": // UNKNOWN, INTERNAL, DATA_LOSS
		return 500
	case "4": // DEADLINE_EXCEEDED
		return 504
	case "8": // RESOURCE_EXHAUSTED
		return 429
	case "14": // UNAVAILABLE
		return 503
	}
	return 400 // the caller's
}

// OK reports whether the try is no failure of the server's.
func (o Outcome) OK() bool { return o.effective() < 500 }
