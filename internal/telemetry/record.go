package telemetry

import (
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// StatusClientGone is the status of a request whose client left before the answer was complete.
const StatusClientGone = 499

// FailureClientGone is the flag of a client that left first, whatever it had got until then.
const FailureClientGone = "client_gone"

// Record is one request, TCP connection or session of datagrams. It is opened by setting Start and closed by Recorder.Close,
// exactly once; Reset makes it ready for another. The zero value is ready.
type Record struct {
	Start     time.Time
	HeadAt    time.Time // head of the answer; zero: none came
	Direction string    // "outbound" or "inbound"
	Protocol  string    // "http", "grpc", "tcp" or "udp"; "" is taken from Series
	Peer      netip.AddrPort
	Source    string // NAMESPACE/NAME of the client, "" if unknown
	SourceID  string // SPIFFE ID of the client
	Service   string // NAMESPACE/NAME asked for; "" is taken from Series
	Port      uint16

	Request   *message.Head // borrowed until Close; nil for TCP
	RequestID string        // borrowed until Close

	Rule     *model.RuleRef  // that chose the backend; nil for the default
	Endpoint *model.Endpoint // that answered or was tried last

	Status        int // HTTP status the client got; 0: none, and for TCP
	GRPCStatus    string
	Failure       string // flag; "" if all went well
	Err           error  // cause of Failure, for people; must hold no secrets
	Checks        string // services that were asked about it, with what came of that; "" if none was
	Attempts      int
	RequestBytes  uint64 // content, towards the destination
	ResponseBytes uint64

	// Datagrams of a session. Their bytes are counted in Series as they pass (Recorder.Carried), not by Close.
	RequestDatagrams, ResponseDatagrams uint64

	Series *Series // what to count in; nil counts nowhere

	closed bool
}

// Reset empties the record for another request.
func (r *Record) Reset() { *r = Record{} }

// protocol, service and the like fall back to the series, which has them as labels.
func (r *Record) protocol() string {
	if r.Protocol == "" && r.Series != nil {
		return r.Series.Key.Protocol
	}
	return r.Protocol
}

func (r *Record) service() string {
	if r.Service == "" && r.Series != nil {
		return r.Series.Key.Service
	}
	return r.Service
}

// key returns the labels, which are empty in the overflow series.
func (r *Record) key() *Key {
	if r.Series != nil {
		return &r.Series.Key
	}
	return &Key{}
}

// Failed says whether the outcome counts as a failure: see the package comment.
func (r *Record) Failed() bool {
	switch {
	case r.Status == StatusClientGone || r.Failure == FailureClientGone:
		return false
	case r.Status >= 500:
		return true
	}
	switch r.protocol() {
	case "grpc":
		if r.GRPCStatus == "" {
			return r.Status == 0 || r.Status == 200 || r.Failure != "" && r.Status < 400
		}
		return grpcFailed(r.GRPCStatus) || r.Failure != "" && r.Status < 400 && r.GRPCStatus == "0"
	case "tcp", "udp":
		return r.Failure != "" && r.Status < 400
	}
	if r.Status == 0 {
		return true
	}
	return r.Failure != "" && r.Status < 400
}

// grpcFailed tells the statuses a server is to blame for.
func grpcFailed(status string) bool {
	switch status {
	case "0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "12", "16":
		return false
	}
	return true // 2, 4, 13, 14, 15, and what is no status
}
