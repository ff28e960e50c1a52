package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/internal/model"
)

// TestGRPCStatuses: each of the seventeen codes reaches the client with its message and its details as the program
// gave them (grpc-status, grpc-message, grpc-status-details-bin).
func TestGRPCStatuses(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, _ *grpcProgram, c *grpc.ClientConn) {
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			_, want := fail(ctx, []byte{byte(code)})
			_, err := call(ctx, c, "Fail", []byte{byte(code)})
			if !proto.Equal(status.Convert(err).Proto(), status.Convert(want).Proto()) {
				t.Errorf("%v arrives as %v", want, status.Convert(err).Proto())
			}
			if code != codes.OK && len(status.Convert(err).Details()) != 2 {
				t.Errorf("%v: the details are %v", code, status.Convert(err).Details())
			}
		}
	})
}

// TestGRPCTrailersOnly: an answer of a head alone (gRPC over HTTP/2, "Trailers-Only") is passed on as such.
func TestGRPCTrailersOnly(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, _ *grpcProgram, c *grpc.ClientConn) {
		s := openStream(ctx, t, c, "Refuse")
		err := s.RecvMsg(&bytesMessage{})
		if st := status.Convert(err); st.Code() != codes.PermissionDenied || st.Message() != "not you" {
			t.Errorf("%v", err)
		}
		if h, err := s.Header(); len(h) != 0 || err != nil {
			t.Errorf("a head beside the trailers: %v, %v", h, err)
		}
		if _, err := call(ctx, c, "None", nil); status.Code(err) != codes.Unimplemented {
			t.Errorf("a method the program does not have: %v", err)
		}
	})
}

// TestGRPCMetadata: values of any bytes (-bin), several of one name and empty ones pass both ways, in heads and
// trailers.
func TestGRPCMetadata(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, _ *grpcProgram, c *grpc.ClientConn) {
		want := metadata.MD{
			"x-all-bin":   {string(allBytes())},
			"x-two-bin":   {"\x00\x01", "\xff"},
			"x-text":      {"a, b; c=\"d\"", "e"},
			"x-empty-bin": {""},
		}
		var head, trailer metadata.MD
		in := []byte("hello")
		out, err := call(metadata.NewOutgoingContext(ctx, want), c, "Metadata", in, grpc.Header(&head), grpc.Trailer(&trailer))
		if err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%q, %v", out, err)
		}
		for where, got := range map[string]metadata.MD{"head": head, "trailers": trailer} {
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if !slices.Equal(got.Get(name), want.Get(name)) {
					t.Errorf("%s in the %s: %q, want %q", name, where, got.Get(name), want.Get(name))
				}
			}
		}
	})
}

// TestGRPCFailuresOfOurs: what the proxy refuses has the status that a client of gRPC expects.
func TestGRPCFailuresOfOurs(t *testing.T) {
	l, p := newLab(t), newGRPCProgram(t)
	nobody, gone := name("nobody"), name("gone")
	path := func(to model.ServiceName, path string) model.Rule {
		return model.Rule{
			Matches:  []model.Match{{Path: model.PathMatch{Type: model.Exact, Value: path}}},
			Backends: []model.Backend{{Service: to, Port: 80, Weight: 1}},
		}
	}
	port := []model.Port{{Number: 80, Protocol: model.GRPC}}
	s := edgeOf(p.at, model.GRPC, model.Socket{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{
		Name: "grpc", Rules: []model.Rule{
			path(name("web"), "/test.Echo/Say"), path(nobody, "/test.Echo/Nobody"), path(gone, "/test.Echo/Gone"),
		},
	}}})
	s.Services = append(s.Services, model.Service{Name: nobody, Ports: port}, model.Service{
		Name: gone, Ports: port,
		Endpoints: []model.Endpoint{{ID: "gone-1", Address: loopbackPort(1), Plain: true, Protocol: model.GRPC}},
	})
	_, at := l.gateway(s, 1)
	c := grpcClient(t, at)
	for _, x := range []struct {
		method string
		want   codes.Code
		flag   string
	}{
		{"Say", codes.OK, ""},
		{"Nobody", codes.Unavailable, flagNoEndpoints},
		{"Gone", codes.Unavailable, flagConnect},
		{"Elsewhere", codes.Unimplemented, flagNoRoute},
	} {
		var trailer metadata.MD
		_, err := call(t.Context(), c, x.method, []byte("x"), grpc.Trailer(&trailer))
		if status.Code(err) != x.want {
			t.Errorf("%s: %v, want %v", x.method, err, x.want)
		}
		if got := trailer.Get(failureHeader); x.flag != "" && !slices.Equal(got, []string{x.flag}) {
			t.Errorf("%s: %s is %q, want %q", x.method, failureHeader, got, x.flag)
		}
	}
}

// TestGRPCResets: a stream that the program resets before its answer has the status that gRPC maps the reset to
// (gRPC over HTTP/2, "HTTP2 Transport Mapping", Errors).
func TestGRPCResets(t *testing.T) {
	for code, want := range map[http2.ErrCode]codes.Code{
		http2.ErrCodeCancel:             codes.Canceled,
		http2.ErrCodeRefusedStream:      codes.Unavailable,
		http2.ErrCodeEnhanceYourCalm:    codes.ResourceExhausted,
		http2.ErrCodeInadequateSecurity: codes.PermissionDenied,
		http2.ErrCodeInternal:           codes.Internal,
	} {
		program := resetting(t, code)
		for _, shape := range []string{"gateway", "pair"} {
			t.Run(code.String()+"-"+shape, func(t *testing.T) {
				c := grpcClient(t, newLab(t).shape(shape, program, model.GRPC))
				if _, err := call(t.Context(), c, "Say", nil); status.Code(err) != want {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
}

// TestGRPCServerEndsAtTheDeadline: a server that resets a call it has begun to answer, because its deadline has passed,
// is quicker than the client's own timer on a busy machine. The client is told so by the call's status.
func TestGRPCServerEndsAtTheDeadline(t *testing.T) {
	program := answering(t, http2.ErrCodeCancel, func(fr *http2.Framer, id uint32) {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		_ = e.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true})
		_ = fr.WriteData(id, false, []byte{0, 0, 0, 0, 0})
		time.Sleep(110 * time.Millisecond) // its own timer, for 100 ms
	})
	for _, shape := range []string{"gateway", "pair"} {
		at := newLab(t).shape(shape, program, model.GRPC)
		eventually(t, shape+": the reset comes before our own timer, and is told as a status", func() bool {
			req, err := http.NewRequest("POST", "http://"+at.String()+"/a.B/C", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("content-type", "application/grpc")
			req.Header.Set("te", "trailers")
			req.Header.Set("grpc-timeout", "100m")
			resp, err := h2Client(t).Do(req)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return err == nil && len(body) == 5 && resp.Trailer.Get("grpc-status") == "4" && strings.Contains(resp.Trailer.Get("grpc-message"), "deadline")
		})
	}
}

// resetting is a program of HTTP/2 that resets each stream with a code.
func resetting(t testing.TB, code http2.ErrCode) netip.AddrPort {
	return answering(t, code, func(*http2.Framer, uint32) {})
}

// answering is resetting after some answer.
func answering(t testing.TB, code http2.ErrCode, answer func(*http2.Framer, uint32)) netip.AddrPort {
	return rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := r.Discard(len(http2.ClientPreface)); err != nil {
			return
		}
		fr := http2.NewFramer(c, r)
		_ = fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				answer(fr, f.StreamID)
				_ = fr.WriteRSTStream(f.StreamID, code)
			}
		}
	})
}

// TestGRPCWebFailure has a client of gRPC-Web, over HTTP/1.1, told of our own failures in its own terms.
func TestGRPCWebFailure(t *testing.T) {
	at := newLab(t).edge([]model.Rule{{Backends: to("none")}}, model.Service{Name: name("none")})
	for _, kind := range []string{"application/grpc-web", "application/grpc-web+json", "application/grpc-web-text+proto"} {
		resp, _ := ask(t, at, "POST", "/a.B/C", "", "content-type", kind+"; charset=utf-8")
		if got := resp.Header.Get("grpc-status"); resp.StatusCode != 200 || got != "14" || resp.Header.Get("content-type") != kind {
			t.Errorf("%s: %d %v", kind, resp.StatusCode, resp.Header)
		}
	}
}
