package envoyrpc

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestCheckRequestIsEnvoys(t *testing.T) {
	at := time.Unix(1_700_000_000, 42)
	for _, c := range []struct {
		body string
		want *authv3.AttributeContext_HttpRequest
	}{
		{"text", &authv3.AttributeContext_HttpRequest{Body: "text"}},
		{"by\xfftes", &authv3.AttributeContext_HttpRequest{RawBody: []byte("by\xfftes")}},
	} {
		r := CheckRequest{
			Time: at, ID: "r1", Source: netip.MustParseAddrPort("[::ffff:192.0.2.7]:4711"), Principal: "spiffe://mesh/ns/a/sa/b",
			Method: "PUT", Path: "/a?b=c", Host: "shop.example", Scheme: "https", Protocol: "HTTP/2", Size: -1, Body: []byte(c.body),
			Headers: []Header{{"accept", "a"}, {"x-bad", "\xff"}, {"accept", "b"}, {"accept", "c"}},
		}
		var got authv3.CheckRequest
		if err := proto.Unmarshal(r.Append(nil), &got); err != nil {
			t.Fatal(err)
		}
		http := c.want
		http.Id, http.Method, http.Path, http.Host, http.Scheme, http.Protocol, http.Size = "r1", "PUT", "/a?b=c", "shop.example", "https", "HTTP/2", -1
		http.Headers = map[string]string{"accept": "a,b,c", "x-bad": "\uFFFD"}
		want := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source: &authv3.AttributeContext_Peer{
				Principal: "spiffe://mesh/ns/a/sa/b",
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711},
				}}},
			},
			Request: &authv3.AttributeContext_Request{Time: timestamppb.New(at), Http: http},
		}}
		if !proto.Equal(&got, want) {
			t.Errorf("Envoy reads %v, want %v", &got, want)
		}
	}
}

func option(name, value string, action corev3.HeaderValueOption_HeaderAppendAction, older *wrapperspb.BoolValue) *corev3.HeaderValueOption {
	//lint:ignore SA1019 services write it still
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, AppendAction: action, Append: older}
}

func allowing() *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &statuspb.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{
				option("x-set", "1", 0, nil), option("x-append", "2", 0, wrapperspb.Bool(true)), option("x-absent", "3", corev3.HeaderValueOption_ADD_IF_ABSENT, nil),
			},
			HeadersToRemove:         []string{"cookie"},
			ResponseHeadersToAdd:    []*corev3.HeaderValueOption{option("x-add", "4", 0, nil), option("x-over", "5", 0, wrapperspb.Bool(false)), option("x-there", "6", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS, nil)},
			QueryParametersToSet:    []*corev3.QueryParameter{{Key: "a", Value: "b"}},
			QueryParametersToRemove: []string{"token"},
		}},
	}
}

func denying() *authv3.CheckResponse {
	return &authv3.CheckResponse{
		Status: &statuspb.Status{Code: 7, Message: "not you"},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized}, Body: "log in",
			Headers: []*corev3.HeaderValueOption{option("www-authenticate", "Basic", 0, nil)},
		}},
	}
}

func TestCheckResponseOfEnvoy(t *testing.T) {
	failing := denying()
	failing.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: failing.GetDeniedResponse()}
	for _, c := range []struct {
		in   *authv3.CheckResponse
		want CheckResponse
	}{
		{&authv3.CheckResponse{}, CheckResponse{}},
		{allowing(), CheckResponse{
			Headers: []HeaderOption{{Header{"x-set", "1"}, OverwriteOrAdd}, {Header{"x-append", "2"}, AppendOrAdd}, {Header{"x-absent", "3"}, AddIfAbsent}},
			Remove:  []string{"cookie"},
			Response: []HeaderOption{
				{Header{"x-add", "4"}, AppendOrAdd}, {Header{"x-over", "5"}, OverwriteOrAdd}, {Header{"x-there", "6"}, OverwriteIfExists},
			},
			SetQuery: []Parameter{{"a", "b"}}, RemoveParams: []string{"token"},
		}},
		{denying(), CheckResponse{Code: 7, Message: "not you", Status: 401, Body: "log in", Headers: []HeaderOption{{Header{"www-authenticate", "Basic"}, OverwriteOrAdd}}}},
		{failing, CheckResponse{Code: 7, Message: "not you", Failed: true, Status: 401, Body: "log in", Headers: []HeaderOption{{Header{"www-authenticate", "Basic"}, OverwriteOrAdd}}}},
	} {
		got, err := ParseCheckResponse(marshal(t, c.in))
		if err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%+v, %v, want %+v", got, err, c.want)
		}
	}
	// Of a oneof the last holds.
	got, err := ParseCheckResponse(append(marshal(t, allowing()), marshal(t, denying())...))
	if err != nil || got.Status != 401 || got.Remove != nil || len(got.Headers) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzParseCheckResponse wants that nothing panics, and that what Envoy's own types take is taken and means the same.
func FuzzParseCheckResponse(f *testing.F) {
	f.Add(marshal(f, allowing()))
	f.Add(marshal(f, denying()))
	f.Add(append(marshal(f, denying()), marshal(f, allowing())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseCheckResponse(b)
		var want authv3.CheckResponse
		if proto.Unmarshal(b, &want) != nil {
			return
		}
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		denied := want.GetDeniedResponse()
		if e := want.GetErrorResponse(); e != nil {
			denied = e
		}
		if got.Code != want.GetStatus().GetCode() || got.Status != int(denied.GetStatus().GetCode()) || got.Body != denied.GetBody() ||
			got.Failed != (want.GetErrorResponse() != nil) ||
			len(got.Headers) != len(denied.GetHeaders())+len(want.GetOkResponse().GetHeaders()) ||
			len(got.Response) != len(want.GetOkResponse().GetResponseHeadersToAdd()) ||
			len(got.Remove) != len(want.GetOkResponse().GetHeadersToRemove()) ||
			len(got.SetQuery) != len(want.GetOkResponse().GetQueryParametersToSet()) {
			t.Errorf("%x: %+v, want %v", b, got, &want)
		}
	})
}
