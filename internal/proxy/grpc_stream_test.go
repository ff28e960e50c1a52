package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestGRPCMessages: unary calls of no byte to 5 MiB, both ways.
func TestGRPCMessages(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, _ *grpcProgram, c *grpc.ClientConn) {
		for _, size := range []int{0, 1, 16 << 10, 5 << 20} {
			in := make([]byte, size)
			_, _ = rand.Read(in)
			if out, err := call(ctx, c, "Say", in); err != nil || !bytes.Equal(in, out) {
				t.Errorf("%d bytes: %d come back, %v", size, len(out), err)
			}
		}
	})
}

// TestGRPCStreams: the server streams, the client streams, both do in turns, and both do at once.
func TestGRPCStreams(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, _ *grpcProgram, c *grpc.ClientConn) {
		serverStreams(t, openStream(ctx, t, c, "Many"))
		clientStreams(t, openStream(ctx, t, c, "Sum"))
		inTurns(t, openStream(ctx, t, c, "Chat"))
		atOnce(t, openStream(ctx, t, c, "Chat"))
	})
}

func serverStreams(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	if err := errors.Join(s.SendMsg(wrapperspb.Bytes([]byte("again"))), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	n := 0
	var err error
	for ; ; n++ {
		if err = s.RecvMsg(&bytesMessage{}); err != nil {
			break
		}
	}
	if n != 100 || status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%d messages, then %v", n, err)
	}
}

func clientStreams(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	for range 100 {
		if err := s.SendMsg(wrapperspb.Bytes(make([]byte, 30_000))); err != nil {
			t.Fatal(err)
		}
	}
	got := &wrapperspb.Int64Value{}
	if err := errors.Join(s.CloseSend(), s.RecvMsg(got)); err != nil || got.GetValue() != 3_000_000 {
		t.Errorf("the sum is %d, %v", got.GetValue(), err)
	}
}

func inTurns(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	for i := range 50 {
		in, out := []byte{byte(i)}, &bytesMessage{}
		if err := errors.Join(s.SendMsg(wrapperspb.Bytes(in)), s.RecvMsg(out)); err != nil || !bytes.Equal(in, out.GetValue()) {
			t.Fatalf("turn %d: %v, %v", i, out.GetValue(), err)
		}
	}
	_ = s.CloseSend()
	if err := s.RecvMsg(&bytesMessage{}); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// atOnce sends without waiting for what comes back: more than the windows between hold.
func atOnce(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	const messages, size = 200, 20_000
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := s.SendMsg(wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, size))); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	for i := range messages {
		out := &bytesMessage{}
		if err := s.RecvMsg(out); err != nil || len(out.GetValue()) != size || out.GetValue()[size-1] != byte(i) {
			t.Fatalf("message %d: %d bytes, %v", i, len(out.GetValue()), err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if err := s.RecvMsg(&bytesMessage{}); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// noticeTime is how soon a side must learn that the other has given up.
const noticeTime = 10 * time.Second

// TestGRPCDeadline: the program knows how long the client waits, and that it no longer does.
func TestGRPCDeadline(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, p *grpcProgram, c *grpc.ClientConn) {
		if _, err := call(ctx, c, "Say", nil); err != nil { // what connecting takes is not at issue
			t.Fatal(err)
		}
		for called := false; !called && ctx.Err() == nil; { // a busy machine may not come to call it in time
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			if _, err := call(short, c, "Hang", nil); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("the client gets %v", err)
			}
			cancel()
			select {
			case <-p.called:
				called = true
			default:
			}
		}
		if err := within(t, noticeTime, "the program's call ends", p.ended); err == nil {
			t.Error("the call ended without a reason")
		}
	})
}

// TestGRPCCancel: a client that gives a call up, before or within its answer, ends the program's work on it; and
// the connection goes on.
func TestGRPCCancel(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, p *grpcProgram, c *grpc.ClientConn) {
		for _, method := range []string{"Hang", "Endless"} {
			given, cancel := context.WithCancel(ctx)
			s := openStream(given, t, c, method)
			if err := errors.Join(s.SendMsg(wrapperspb.Bytes(nil)), s.CloseSend()); err != nil {
				t.Fatal(err)
			}
			if method == "Endless" {
				if err := s.RecvMsg(&bytesMessage{}); err != nil {
					t.Fatal(err)
				}
			}
			within(t, tunnelPatience, "the program is called", p.called)
			cancel()
			if err := within(t, noticeTime, method+" ends", p.ended); !errors.Is(err, context.Canceled) {
				t.Errorf("%s ends by %v", method, err)
			}
			if err := s.RecvMsg(&bytesMessage{}); status.Code(err) != codes.Canceled {
				t.Errorf("%s: the client gets %v", method, err)
			}
		}
		if _, err := call(ctx, c, "Say", nil); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

// TestGRPCServerDies: a stream whose program is gone ends with an error, soon.
func TestGRPCServerDies(t *testing.T) {
	grpcShapes(t, func(ctx context.Context, t *testing.T, p *grpcProgram, c *grpc.ClientConn) {
		s := openStream(ctx, t, c, "Endless")
		if err := s.RecvMsg(&bytesMessage{}); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.RecvMsg(&bytesMessage{}) }()
		within(t, tunnelPatience, "the program is called", p.called)
		p.server.Stop()
		err := within(t, noticeTime, "the client is told", ended)
		if code := status.Code(err); code != codes.Unavailable && code != codes.Internal {
			t.Errorf("the client gets %v", err)
		}
		if _, err := call(ctx, c, "Say", nil); status.Code(err) != codes.Unavailable {
			t.Errorf("the next call: %v", err)
		}
	})
}
