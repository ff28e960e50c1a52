package envoyrpc

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// CheckPath is the path of the call that asks an authorization service.
const CheckPath = "/envoy.service.auth.v3.Authorization/Check"

// CheckRequest asks whether a request may go on (envoy.service.auth.v3.CheckRequest).
type CheckRequest struct {
	Time      time.Time
	ID        string         // x-request-id
	Source    netip.AddrPort // of the client
	Principal string         // its SPIFFE ID; "" if it has proven none

	Method, Path, Host, Scheme, Protocol string   // Path with its query; Protocol as "HTTP/1.1"
	Headers                              []Header // names in lower case; values of one name are joined by ","
	Size                                 int64    // of the content; -1: not known
	Body                                 []byte   // as far as it is sent
}

// Append appends the message to b.
func (r *CheckRequest) Append(b []byte) []byte {
	attributes := appendMessage(nil, 1, r.source())
	var request []byte
	if !r.Time.IsZero() {
		stamp := appendNumber(nil, 1, uint64(r.Time.Unix()))
		request = appendMessage(request, 1, appendNumber(stamp, 2, uint64(r.Time.Nanosecond())))
	}
	request = appendMessage(request, 2, r.http())
	return appendMessage(b, 1, appendMessage(attributes, 4, request))
}

// source is an AttributeContext.Peer.
func (r *CheckRequest) source() []byte {
	var peer []byte
	if r.Source.IsValid() {
		at := appendText(nil, 2, r.Source.Addr().Unmap().String())
		at = appendNumber(at, 3, uint64(r.Source.Port()))
		peer = appendMessage(peer, 1, appendMessage(nil, 1, at)) // Address, SocketAddress
	}
	return appendText(peer, 4, r.Principal)
}

// http is an AttributeContext.HttpRequest. Text that is not UTF-8, which protobuf does not allow, is mended; such content is
// sent as bytes.
func (r *CheckRequest) http() []byte {
	b := appendText(nil, 1, valid(r.ID))
	b = appendText(b, 2, valid(r.Method))
	var entry []byte
	for i, h := range r.Headers {
		value, again := h.Value, false
		for j := range r.Headers {
			if j != i && r.Headers[j].Name == h.Name {
				if again = j < i; again {
					break
				}
				value += "," + r.Headers[j].Value
			}
		}
		if !again {
			entry = appendText(appendText(entry[:0], 1, valid(h.Name)), 2, valid(value))
			b = appendMessage(b, 3, entry)
		}
	}
	b = appendText(b, 4, valid(r.Path))
	b = appendText(b, 5, valid(r.Host))
	b = appendText(b, 6, r.Scheme)
	b = appendNumber(b, 9, uint64(r.Size))
	b = appendText(b, 10, r.Protocol)
	if utf8.Valid(r.Body) {
		return appendText(b, 11, r.Body)
	}
	return appendText(b, 12, r.Body)
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// HeaderAction is how a header that a service asks for is written (HeaderValueOption).
type HeaderAction int32

// The actions there are, with Envoy's numbers.
const (
	AppendOrAdd       HeaderAction = 0
	AddIfAbsent       HeaderAction = 1
	OverwriteOrAdd    HeaderAction = 2
	OverwriteIfExists HeaderAction = 3
)

// HeaderOption is a header with how it is written.
type HeaderOption struct {
	Header
	Action HeaderAction
}

// Parameter is one of a query.
type Parameter struct{ Key, Value string }

// CheckResponse is what an authorization service answers.
type CheckResponse struct {
	Code    int32  // of google.rpc; 0: the request may go on
	Message string // with Code
	Failed  bool   // the service says that it could not decide

	Status  int            // of a denial, as HTTP has it; 0: not said
	Body    string         // of a denial
	Headers []HeaderOption // of the request that goes on; or of the answer that denies

	Remove       []string // headers of the request that goes on
	Response     []HeaderOption
	SetQuery     []Parameter
	RemoveParams []string
}

// The fields of CheckResponse that answer in HTTP's words; the last one holds.
const (
	deniedResponse = 2
	okResponse     = 3
	errorResponse  = 5
)

// ParseCheckResponse decodes an answer. Dynamic metadata is not looked at.
func ParseCheckResponse(b []byte) (*CheckResponse, error) {
	out := &CheckResponse{}
	said := 0
	err := each(b, func(f *field) error {
		switch {
		case f.is(1, bytesType): // google.rpc.Status
			return each(f.b, func(f *field) (err error) {
				switch {
				case f.is(1, varintType):
					out.Code = int32(f.n)
				case f.is(2, bytesType):
					out.Message, err = text(f.b)
				}
				return err
			})
		case f.is(deniedResponse, bytesType), f.is(okResponse, bytesType), f.is(errorResponse, bytesType):
			if f.number != said { // of a oneof the last one holds
				*out = CheckResponse{Code: out.Code, Message: out.Message, Failed: f.number == errorResponse}
				said = f.number
			}
			if f.number == okResponse {
				return out.ok(f.b)
			}
			return out.denied(f.b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("authorization response: %w", err)
	}
	return out, nil
}

// denied reads DeniedHttpResponse or ErrorHttpResponse, which are alike.
func (r *CheckResponse) denied(b []byte) error {
	return each(b, func(f *field) (err error) {
		switch {
		case f.is(1, bytesType): // HttpStatus
			return each(f.b, func(f *field) error {
				if f.is(1, varintType) {
					r.Status = int(int32(f.n))
				}
				return nil
			})
		case f.is(2, bytesType):
			return addOption(&r.Headers, f.b, OverwriteOrAdd)
		case f.is(3, bytesType):
			r.Body, err = text(f.b)
		}
		return err
	})
}

// ok reads OkHttpResponse.
func (r *CheckResponse) ok(b []byte) error {
	return each(b, func(f *field) error {
		switch {
		case f.is(2, bytesType):
			return addOption(&r.Headers, f.b, OverwriteOrAdd)
		case f.is(5, bytesType):
			return addText(&r.Remove, f.b)
		case f.is(6, bytesType):
			return addOption(&r.Response, f.b, AppendOrAdd)
		case f.is(7, bytesType):
			var p Parameter
			err := each(f.b, func(f *field) (err error) {
				switch {
				case f.is(1, bytesType):
					p.Key, err = text(f.b)
				case f.is(2, bytesType):
					p.Value, err = text(f.b)
				}
				return err
			})
			r.SetQuery = append(r.SetQuery, p)
			return err
		case f.is(8, bytesType):
			return addText(&r.RemoveParams, f.b)
		}
		return nil
	})
}

func addText(to *[]string, b []byte) error {
	s, err := text(b)
	*to = append(*to, s)
	return err
}

// addOption reads a HeaderValueOption. Without an action and without the older field append it is written as otherwise
// says, which is not the same for all uses (external_auth.proto).
func addOption(to *[]HeaderOption, b []byte, otherwise HeaderAction) error {
	var h headerValue
	var action HeaderAction
	said, appended := false, false
	err := each(b, func(f *field) error {
		switch {
		case f.is(1, bytesType):
			return h.read(f.b)
		case f.is(2, bytesType): // BoolValue
			said = true
			return each(f.b, func(f *field) error {
				if f.is(1, varintType) {
					appended = f.n != 0
				}
				return nil
			})
		case f.is(3, varintType):
			action = HeaderAction(int32(f.n))
		}
		return nil
	})
	switch {
	case action != AppendOrAdd:
	case said && !appended:
		action = OverwriteOrAdd
	case !said:
		action = otherwise
	}
	*to = append(*to, HeaderOption{h.header(), action})
	return err
}
