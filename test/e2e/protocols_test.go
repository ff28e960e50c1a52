package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// child names what this test binary is when a mesh runs it as a program.
const child = "WEFT_E2E_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(child); role != "" {
		os.Exit(play(role, os.Args[1]))
	}
	os.Exit(m.Run())
}

// play is a program of the mesh: a server on a port, or a client of an address.
func play(role, arg string) int {
	err := map[string]func(string) error{
		"grpc-server": grpcServer, "grpc-client": grpcClient, "tcp-server": tcpServer, "tcp-client": tcpClient,
		"http-server": httpServer, "failing-server": failingServer, "paced": pacedClient, "steady": steadyClient, "tally": tallyClient,
		"offer": offerClient, "limit-server": limitServer, "auth-server": authServer,
		"ws-server": webSocketServer, "ws-client": webSocketClient, "etcd": etcdServer,
		"prober": prober, "mortal-server": mortalServer, "hop": hop, "grpc-hop": serveGRPCHop, "deadline-client": deadlineClient,
	}[role](arg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func grpcServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	// A server whose timer is first says what its client would.
	s := grpc.NewServer(grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		err := handle(srv, ss)
		if ss.Context().Err() != nil {
			err = status.FromContextError(ss.Context().Err()).Err()
		}
		return err
	}))
	h := health.NewServer()
	h.SetServingStatus("weft", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s, h)
	return s.Serve(ln)
}

// grpcClient makes a unary call, a streaming one, one that fails, and one that runs into its deadline.
func grpcClient(addr string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "weft"})
	if err != nil || resp.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("unary: %v %w", resp, err)
	}
	if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "nothing"}); status.Code(err) != codes.NotFound {
		return fmt.Errorf("the server's own status arrives as %w", err)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	stream, err := c.Watch(short, &healthpb.HealthCheckRequest{Service: "weft"})
	if err != nil {
		return err
	}
	if first, err := stream.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("streaming: %v %w", first, err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("the deadline arrives as %w", err)
	}
	fmt.Println("all well")
	return nil
}

func TestGRPC(t *testing.T) {
	m := newMesh(t)
	port := fmt.Sprint(freePort(t))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, []string{"WEFT_SOCKET=" + m.socket, child + "=grpc-server"}, bin(t, "weft"),
		"run", "--service", "echo", "--port", "9090:"+port+"/grpc", "--", self, port)
	m.ready("echo", 1)
	client := func() *process {
		c := start(t, []string{"WEFT_SOCKET=" + m.socket, child + "=grpc-client"}, bin(t, "weft"), "run", "--service", "load", "--", self, "echo:9090")
		<-c.done
		return c
	}
	if c := client(); !strings.Contains(c.out.String(), "all well") {
		t.Fatalf("%s%s", c.out.String(), c.err.String())
	}
	server.stop(syscall.SIGTERM)
	if c := client(); !strings.Contains(c.out.String(), "code = Unavailable") || !strings.Contains(c.out.String(), "no_endpoints") {
		t.Fatalf("without a server: %s", c.out.String())
	}
}

// tcpServer speaks first, then echoes in upper case until the client's end.
func tcpServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.WriteString(c, "welcome\n")
			b, _ := io.ReadAll(c)
			_, _ = io.WriteString(c, strings.ToUpper(string(b)))
		}()
	}
}

func tcpClient(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || line != "welcome\n" {
		return fmt.Errorf("banner %q: %w", line, err)
	}
	_, _ = io.WriteString(c, "half close")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	fmt.Printf("%s\n", b)
	return err
}

// TestTCPWhereTheServerSpeaksFirst declares the protocol, and leaves it to be found out.
func TestTCPWhereTheServerSpeaksFirst(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"/tcp", ""} {
		t.Run("protocol "+protocol, func(t *testing.T) {
			m := newMesh(t)
			port := fmt.Sprint(freePort(t))
			start(t, []string{"WEFT_SOCKET=" + m.socket, child + "=tcp-server"}, bin(t, "weft"),
				"run", "--service", "db", "--port", "4000:"+port+protocol, "--", self, port)
			m.ready("db", 1)
			c := start(t, []string{"WEFT_SOCKET=" + m.socket, child + "=tcp-client"}, bin(t, "weft"), "run", "--service", "load", "--", self, "db:4000")
			<-c.done
			if c.out.String() != "HALF CLOSE\n" {
				t.Fatalf("%s%s", c.out.String(), c.err.String())
			}
		})
	}
}
