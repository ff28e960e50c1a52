package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoService has a unary call that fails with a code when told so, and the three kinds of streams, over messages of bytes.
var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &wrapperspb.BytesValue{}
		if err := decode(in); err != nil {
			return nil, err
		}
		if s := string(in.GetValue()); s == "fail" {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("why", "told"))
			return nil, status.Error(codes.FailedPrecondition, "100% as told: \u2713")
		}
		return in, grpc.SetTrailer(ctx, metadata.Pairs("size", "known"))
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Many", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			in := &wrapperspb.BytesValue{}
			if err := s.RecvMsg(in); err != nil {
				return err
			}
			for range 100 {
				if err := s.SendMsg(in); err != nil {
					return err
				}
			}
			return status.Error(codes.ResourceExhausted, "that was all")
		}},
		{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				in := &wrapperspb.BytesValue{}
				if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(in); err != nil {
					return err
				}
			}
		}},
	},
}

// grpcBackend serves echoService until the test ends and returns its port.
func grpcBackend(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	s.RegisterService(&echoService, nil)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return ln.Addr().(*net.TCPAddr).Port
}

// grpcClients call by the GRPCRoute of grpc.example, and by a name that has none.
func grpcClients(t *testing.T, addr string) {
	dial := func(authority string) *grpc.ClientConn {
		c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(authority),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := dial("grpc.example")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	unaryCalls(ctx, t, c)
	streamCalls(ctx, t, c)
	for _, c := range []struct {
		what, host, method string
		want               codes.Code
	}{
		{"a host without a listener", "other.example", "/test.Echo/Say", codes.Unimplemented},
		{"a service without a route", "grpc.example", "/test.Other/Say", codes.Unimplemented},
		{"a service without endpoints", "grpc.example", "/test.Gone/Say", codes.Unavailable},
	} {
		if err := dial(c.host).Invoke(ctx, c.method, wrapperspb.Bytes(nil), &wrapperspb.BytesValue{}); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
}

// unaryCalls are answered, of 1 byte and of 5 MiB, and fail with the program's own status and trailers.
func unaryCalls(ctx context.Context, t *testing.T, c *grpc.ClientConn) {
	for _, size := range []int{0, 1, 5 << 20} {
		in, out, trailer := wrapperspb.Bytes(bytes.Repeat([]byte("x"), size)), &wrapperspb.BytesValue{}, metadata.MD{}
		if err := c.Invoke(ctx, "/test.Echo/Say", in, out, grpc.Trailer(&trailer)); err != nil || !bytes.Equal(in.GetValue(), out.GetValue()) {
			t.Errorf("unary of %d bytes: %d bytes, %v", size, len(out.GetValue()), err)
		}
		if v := trailer.Get("size"); len(v) != 1 || v[0] != "known" {
			t.Errorf("unary of %d bytes: trailers %v", size, trailer)
		}
	}
	var trailer metadata.MD
	err := c.Invoke(ctx, "/test.Echo/Say", wrapperspb.Bytes([]byte("fail")), &wrapperspb.BytesValue{}, grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "100% as told: \u2713" {
		t.Errorf("the program's status arrives as %v", err)
	}
	if v := trailer.Get("why"); len(v) != 1 || v[0] != "told" {
		t.Errorf("the trailers of a failed call are %v", trailer)
	}
	if err := c.Invoke(ctx, "/test.Echo/None", wrapperspb.Bytes(nil), &wrapperspb.BytesValue{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method the program does not have: %v", err)
	}
}

// streamCalls read a stream to its status, and talk both ways in turns.
func streamCalls(ctx context.Context, t *testing.T, c *grpc.ClientConn) {
	many, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Echo/Many")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(many.SendMsg(wrapperspb.Bytes([]byte("again"))), many.CloseSend()); err != nil {
		t.Fatal(err)
	}
	got := 0
	for err == nil {
		if err = many.RecvMsg(&wrapperspb.BytesValue{}); err == nil {
			got++
		}
	}
	if got != 100 || status.Code(err) != codes.ResourceExhausted {
		t.Errorf("server streaming: %d messages, then %v", got, err)
	}
	chat, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Chat")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		out := &wrapperspb.BytesValue{}
		in := wrapperspb.Bytes([]byte{byte(i)})
		if err := errors.Join(chat.SendMsg(in), chat.RecvMsg(out)); err != nil || !bytes.Equal(in.GetValue(), out.GetValue()) {
			t.Fatalf("turn %d of a stream both ways: %v, %v", i, out.GetValue(), err)
		}
	}
	if err := chat.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := chat.RecvMsg(&wrapperspb.BytesValue{}); !errors.Is(err, io.EOF) {
		t.Errorf("the end of a stream both ways: %v", err)
	}
}
