package envoyrpc

import (
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRateLimitRequestIsEnvoys(t *testing.T) {
	for _, r := range []RateLimitRequest{
		{},
		{Domain: "shop", Hits: 300},
		{Domain: "shop", Descriptors: [][]Entry{{{"generic_key", "slow"}}, {{"user", "anna"}, {"path", "/a/ü"}, {"empty", ""}}, {}}, Hits: 1},
	} {
		var got ratelimitv3.RateLimitRequest
		if err := proto.Unmarshal(r.Append(nil), &got); err != nil {
			t.Fatal(err)
		}
		want := &ratelimitv3.RateLimitRequest{Domain: r.Domain, HitsAddend: r.Hits}
		for _, d := range r.Descriptors {
			x := &ratelimitcommonv3.RateLimitDescriptor{}
			for _, e := range d {
				x.Entries = append(x.Entries, &ratelimitcommonv3.RateLimitDescriptor_Entry{Key: e.Key, Value: e.Value})
			}
			want.Descriptors = append(want.Descriptors, x)
		}
		if !proto.Equal(&got, want) {
			t.Errorf("Envoy reads %v, want %v", &got, want)
		}
	}
}

// full is an answer that has something in every field.
func full() *ratelimitv3.RateLimitResponse {
	h := func(name, value string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: name, Value: value} }
	status := func(code ratelimitv3.RateLimitResponse_Code, reset time.Duration) *ratelimitv3.RateLimitResponse_DescriptorStatus {
		return &ratelimitv3.RateLimitResponse_DescriptorStatus{
			Code: code, LimitRemaining: 7, DurationUntilReset: durationpb.New(reset),
			CurrentLimit: &ratelimitv3.RateLimitResponse_RateLimit{Name: "a", RequestsPerUnit: 10, Unit: ratelimitv3.RateLimitResponse_RateLimit_MINUTE},
		}
	}
	return &ratelimitv3.RateLimitResponse{
		OverallCode: ratelimitv3.RateLimitResponse_OVER_LIMIT,
		Statuses: []*ratelimitv3.RateLimitResponse_DescriptorStatus{
			status(ratelimitv3.RateLimitResponse_OK, time.Hour), status(ratelimitv3.RateLimitResponse_OVER_LIMIT, 42*time.Second+time.Millisecond),
			status(ratelimitv3.RateLimitResponse_OVER_LIMIT, time.Second),
		},
		ResponseHeadersToAdd: []*corev3.HeaderValue{h("x-ratelimit-limit", "10"), {Key: "x-raw", RawValue: []byte("r\xffw")}},
		RequestHeadersToAdd:  []*corev3.HeaderValue{h("x-limited", "yes")},
		RawBody:              []byte("slow down"),
		DynamicMetadata:      &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewNumberValue(1)}},
		Quota:                &ratelimitv3.RateLimitResponse_Quota{Requests: 3},
	}
}

func TestRateLimitResponseOfEnvoy(t *testing.T) {
	r, err := ParseRateLimitResponse(marshal(t, full()))
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != RateLimitOverLimit || string(r.Body) != "slow down" || r.Reset != 42*time.Second+time.Millisecond ||
		!slices.Equal(r.Response, []Header{{"x-ratelimit-limit", "10"}, {"x-raw", "r\xffw"}}) || !slices.Equal(r.Request, []Header{{"x-limited", "yes"}}) {
		t.Errorf("%+v", r)
	}
	if r, err = ParseRateLimitResponse(nil); err != nil || r.Code != RateLimitUnknown {
		t.Errorf("an empty answer: %+v, %v", r, err)
	}
}

// TestWhatIsNotAMessage: each of these breaks the wire format.
func TestWhatIsNotAMessage(t *testing.T) {
	deep := []byte{}
	for range maxDepth + 1 {
		deep = protowire.AppendTag(deep, 99, protowire.StartGroupType)
	}
	for what, b := range map[string][]byte{
		"cut in a tag":        {0x80},
		"cut in a number":     {0x08, 0x80},
		"cut in bytes":        {0x2a, 5, 'a'},
		"cut in a fixed32":    {0x4d, 0, 0},
		"cut in a fixed64":    {0x49, 0, 0},
		"cut in a group":      {0x4b, 0x08, 0x01},
		"a group that is not": {0x4c},
		"another group":       {0x4b, 0x54},
		"groups too deep":     deep,
		"a number too large":  {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"field 0":             {0x00, 0x01},
		"a type that is none": {0x0e},
		"a string of bytes":   {0x1a, 0x03, 0x0a, 0x01, 0xff},
	} {
		if r, err := ParseRateLimitResponse(b); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

func TestFrames(t *testing.T) {
	b, err := Unframe(AppendFrame(nil, []byte("message")))
	if err != nil || string(b) != "message" {
		t.Errorf("%q, %v", b, err)
	}
	for _, bad := range []string{"", "\x00\x00\x00\x00", "\x01\x00\x00\x00\x00", "\x00\x00\x00\x00\x02a", "\x00\x00\x00\x00\x01ab"} {
		if b, err := Unframe([]byte(bad)); err == nil {
			t.Errorf("%q is a frame of %q", bad, b)
		}
	}
}

// FuzzParseRateLimitResponse wants that nothing panics, and that what Envoy's own types take is taken and means the same.
func FuzzParseRateLimitResponse(f *testing.F) {
	f.Add(marshal(f, full()))
	f.Add([]byte{0x08, 0x02, 0x4b, 0x08, 0x01, 0x4c, 0x4d, 0, 0, 0, 0, 0x49, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x12, 0x06, 0x08, 0x02, 0x22, 0x02, 0x08, 0x05})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseRateLimitResponse(b)
		var want ratelimitv3.RateLimitResponse
		if proto.Unmarshal(b, &want) != nil {
			return // some of it may be in what is passed over here
		}
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		var reset time.Duration
		for _, s := range want.GetStatuses() {
			if d := s.GetDurationUntilReset(); s.GetCode() == ratelimitv3.RateLimitResponse_OVER_LIMIT && d.IsValid() && d.AsDuration() <= 366*24*time.Hour {
				reset = max(reset, d.AsDuration())
			}
		}
		if int32(got.Code) != int32(want.GetOverallCode()) || string(got.Body) != string(want.GetRawBody()) || got.Reset != reset {
			t.Errorf("%x: %+v, want %v", b, got, &want)
		}
		same(t, got.Response, want.GetResponseHeadersToAdd())
		same(t, got.Request, want.GetRequestHeadersToAdd())
	})
}

func same(t *testing.T, got []Header, want []*corev3.HeaderValue) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d headers, want %d", len(got), len(want))
	}
	for i, h := range want {
		value := h.GetValue()
		if len(h.GetRawValue()) > 0 {
			value = string(h.GetRawValue())
		}
		if got[i] != (Header{h.GetKey(), value}) {
			t.Errorf("%+v, want %v", got[i], h)
		}
	}
}
