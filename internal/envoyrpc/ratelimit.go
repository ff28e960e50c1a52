package envoyrpc

import (
	"fmt"
	"time"
)

// ShouldRateLimit is the path of the call that asks a rate-limit service.
const ShouldRateLimit = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"

// Entry is a key and a value of a descriptor.
type Entry struct{ Key, Value string }

// RateLimitRequest asks whether a request may pass. The service counts it for each of the descriptors.
type RateLimitRequest struct {
	Domain      string
	Descriptors [][]Entry
	Hits        uint32 // 0: the service takes it for 1
}

// Append appends the message to b.
func (r *RateLimitRequest) Append(b []byte) []byte {
	b = appendText(b, 1, r.Domain)
	var descriptor, entry []byte
	for _, d := range r.Descriptors {
		descriptor = descriptor[:0]
		for _, e := range d {
			entry = appendText(appendText(entry[:0], 1, e.Key), 2, e.Value)
			descriptor = appendMessage(descriptor, 1, entry)
		}
		b = appendMessage(b, 2, descriptor)
	}
	return appendNumber(b, 3, uint64(r.Hits))
}

// RateLimitCode is an answer of a rate-limit service.
type RateLimitCode int32

// The answers there are.
const (
	RateLimitUnknown   RateLimitCode = 0
	RateLimitOK        RateLimitCode = 1
	RateLimitOverLimit RateLimitCode = 2
)

// RateLimitResponse is what a rate-limit service answers.
type RateLimitResponse struct {
	Code     RateLimitCode
	Response []Header      // to add to the answer that the client gets
	Request  []Header      // to add to the request that is passed on
	Body     []byte        // of the answer when the request is over the limit; empty: nothing is said
	Reset    time.Duration // until the longest of the limits that it is over begins anew; 0: not said
}

// ParseRateLimitResponse decodes an answer. Limits, quotas and dynamic metadata are not looked at.
func ParseRateLimitResponse(b []byte) (*RateLimitResponse, error) {
	out := &RateLimitResponse{}
	err := each(b, func(f *field) error {
		switch {
		case f.is(1, varintType):
			out.Code = RateLimitCode(int32(f.n))
		case f.is(2, bytesType):
			return out.status(f.b)
		case f.is(3, bytesType):
			return addHeader(&out.Response, f.b)
		case f.is(4, bytesType):
			return addHeader(&out.Request, f.b)
		case f.is(5, bytesType):
			out.Body = append([]byte(nil), f.b...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rate-limit response: %w", err)
	}
	return out, nil
}

func addHeader(to *[]Header, b []byte) error {
	var h headerValue
	if err := h.read(b); err != nil {
		return err
	}
	*to = append(*to, h.header())
	return nil
}

// status reads the DescriptorStatus of one descriptor.
func (r *RateLimitResponse) status(b []byte) error {
	var code RateLimitCode
	var seconds int64
	var nanos int32
	err := each(b, func(f *field) error {
		switch {
		case f.is(1, varintType):
			code = RateLimitCode(int32(f.n))
		case f.is(4, bytesType): // google.protobuf.Duration
			return each(f.b, func(f *field) error {
				switch {
				case f.is(1, varintType):
					seconds = int64(f.n)
				case f.is(2, varintType):
					nanos = int32(f.n)
				}
				return nil
			})
		}
		return nil
	})
	const most = 366 * 24 * 3600 // seconds: the longest unit of the service is a year
	if err == nil && code == RateLimitOverLimit && seconds >= 0 && seconds <= most && nanos >= 0 && nanos < 1e9 {
		r.Reset = max(r.Reset, time.Duration(seconds)*time.Second+time.Duration(nanos))
	}
	return err
}
