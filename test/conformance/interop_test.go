package conformance

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// interopCases are those of gRPC's interoperability tests that need no credentials of a cloud provider.
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
	"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service", "pick_first_unary",
	"orca_per_rpc", "rpc_soak", "channel_soak",
}

func interop(ctx context.Context, port int, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	args := []string{"--server_host=127.0.0.1", fmt.Sprintf("--server_port=%d", port), "--test_case=" + name}
	if strings.HasSuffix(name, "_soak") {
		args = append(args, "--soak_iterations=50", "--soak_overall_timeout_seconds=30", "--soak_per_iteration_max_acceptable_latency_ms=5000")
	}
	out, err := exec.CommandContext(ctx, filepath.Join(suites, "interop-client"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(string(out)))
	}
	return nil
}

// TestGRPCInterop wants every case that passes without a proxy to pass through a hop and through the pair.
func TestGRPCInterop(t *testing.T) {
	bin(t, "weft")
	direct, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, nil, filepath.Join(suites, "interop-server"), fmt.Sprintf("--port=%d", direct))
	if err := server.listening(fmt.Sprintf("127.0.0.1:%d", direct)); err != nil {
		t.Fatal(err)
	}
	passing := 0
	works := map[string]bool{}
	for _, name := range interopCases {
		if err := interop(t.Context(), direct, name); err != nil {
			t.Logf("%s does not pass without a proxy: %v", name, err)
			continue
		}
		works[name] = true
		passing++
	}
	if passing < 15 {
		t.Fatalf("only %d cases pass without a proxy", passing)
	}
	through := func(t *testing.T, port int) {
		for _, name := range interopCases {
			if !works[name] {
				continue
			}
			t.Run(name, func(t *testing.T) {
				if err := interop(t.Context(), port, name); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Run("hop", func(t *testing.T) { through(t, hop(t, &gateway{backend: direct, protocol: "kubernetes.io/h2c"})) })
	t.Run("pair", func(t *testing.T) {
		m := newMesh(t)
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		local := m.pair(t, "grpc", port, filepath.Join(suites, "interop-server"), fmt.Sprintf("--port=%d", port))
		eventually(t, func() error { return interop(t.Context(), local, "empty_unary") })
		through(t, local)
	})
	t.Logf("%d cases pass without a proxy", passing)
}
