package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/model"
)

// grpcLimit is the largest message of the tests, both ways.
const grpcLimit = 16 << 20

// grpcProgram is a real server of gRPC with a method of each kind. Messages are bytes.
type grpcProgram struct {
	at     netip.AddrPort
	server *grpc.Server
	called chan struct{} // a Hang or Endless has begun
	ended  chan error    // and this is how its context ended
}

func newGRPCProgram(t testing.TB) *grpcProgram {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &grpcProgram{
		at: addrOf(t, ln), server: grpc.NewServer(grpc.MaxRecvMsgSize(grpcLimit)),
		called: make(chan struct{}, 16), ended: make(chan error, 16),
	}
	p.server.RegisterService(p.service(), nil)
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.server.Serve(ln) })
	t.Cleanup(func() { p.server.Stop(); wg.Wait() })
	return p
}

func (p *grpcProgram) service() *grpc.ServiceDesc {
	unary := func(name string, f func(context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.BytesValue{}
			if err := decode(in); err != nil {
				return nil, err
			}
			out, err := f(ctx, in.GetValue())
			return wrapperspb.Bytes(out), err
		}}
	}
	stream := func(name string, f func(grpc.ServerStream) error) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return f(s) }}
	}
	return &grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Say", func(_ context.Context, in []byte) ([]byte, error) { return in, nil }),
			unary("Fail", fail),
			unary("Metadata", mirrorMetadata),
			unary("Hang", func(ctx context.Context, _ []byte) ([]byte, error) { return nil, p.hang(ctx) }),
		},
		Streams: []grpc.StreamDesc{
			stream("Many", many),
			stream("Sum", sum),
			stream("Chat", chat),
			stream("Refuse", func(grpc.ServerStream) error { return status.Error(codes.PermissionDenied, "not you") }),
			stream("Endless", func(s grpc.ServerStream) error {
				if err := s.SendMsg(wrapperspb.Bytes([]byte("one"))); err != nil {
					return err
				}
				return p.hang(s.Context())
			}),
		},
	}
}

// hang waits until nobody wants the answer any more.
func (p *grpcProgram) hang(ctx context.Context) error {
	p.called <- struct{}{}
	<-ctx.Done()
	p.ended <- ctx.Err()
	return ctx.Err()
}

// fail answers with the code it is told, and with details.
func fail(_ context.Context, in []byte) ([]byte, error) {
	s := status.New(codes.Code(in[0]), grpcWords)
	if s.Code() == codes.OK {
		return in, nil
	}
	s, err := s.WithDetails(wrapperspb.Bytes(allBytes()), wrapperspb.String("why"))
	if err != nil {
		return nil, err
	}
	return nil, s.Err()
}

// grpcWords has what grpc-message must encode.
const grpcWords = "100% as told:\n\t\u2713 \"quoted\""

// allBytes is each byte once.
func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// mirrorMetadata gives the request's x- fields back, as header and as trailer.
func mirrorMetadata(ctx context.Context, in []byte) ([]byte, error) {
	got, _ := metadata.FromIncomingContext(ctx)
	back := metadata.MD{}
	for name, values := range got {
		if strings.HasPrefix(name, "x-") {
			back[name] = values
		}
	}
	return in, errors.Join(grpc.SetHeader(ctx, back), grpc.SetTrailer(ctx, back))
}

// many answers one message with a hundred and a status of its own.
func many(s grpc.ServerStream) error {
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
}

// sum answers many messages with one.
func sum(s grpc.ServerStream) error {
	n := int64(0)
	for {
		in := &wrapperspb.BytesValue{}
		if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.Int64(n))
		} else if err != nil {
			return err
		}
		n += int64(len(in.GetValue()))
	}
}

// chat answers each message with itself.
func chat(s grpc.ServerStream) error {
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
}

// grpcClient is a real client, without retries of its own.
func grpcClient(t testing.TB, at netip.AddrPort) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+at.String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("web"), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(grpcLimit)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// grpcShapes runs f with a client of a new program through a gateway, a hop and a pair.
func grpcShapes(t *testing.T, f func(ctx context.Context, t *testing.T, p *grpcProgram, c *grpc.ClientConn)) {
	t.Helper()
	for _, shape := range []string{"gateway", "hop", "pair"} {
		t.Run(shape, func(t *testing.T) {
			p := newGRPCProgram(t)
			c := grpcClient(t, newLab(t).shape(shape, p.at, model.GRPC))
			ctx, cancel := context.WithTimeout(t.Context(), tunnelPatience)
			defer cancel()
			f(ctx, t, p, c)
		})
	}
}

func call(ctx context.Context, c *grpc.ClientConn, method string, in []byte, o ...grpc.CallOption) ([]byte, error) {
	out := &wrapperspb.BytesValue{}
	err := c.Invoke(ctx, "/test.Echo/"+method, wrapperspb.Bytes(in), out, o...)
	return out.GetValue(), err
}

func openStream(ctx context.Context, t *testing.T, c *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// within waits for what is to come soon.
func within[T any](t testing.TB, d time.Duration, what string, c <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		t.Fatalf("not within %v: %s", d, what)
	}
	return v
}

// bytesMessage is the message of all methods but the answer of Sum.
type bytesMessage = wrapperspb.BytesValue

// loopbackPort is an address on the loopback; nothing listens on port 1.
func loopbackPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(loopback.Addr(), port) }
