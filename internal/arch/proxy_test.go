package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxProxy is the size of weft-proxy, static and stripped. It runs thousands of times: what it links, every
// workload pays for.
const maxProxy = 16_000_000

func TestProxyIsSmall(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "weft-proxy")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin, "./cmd/weft-proxy")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	st, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("weft-proxy has %.1f MB", float64(st.Size())/1e6)
	if st.Size() > maxProxy {
		t.Errorf("weft-proxy has %.1f MB, the limit is %.0f", float64(st.Size())/1e6, maxProxy/1e6)
	}
}

func TestProxyLinksNoControlPlane(t *testing.T) {
	banned := []string{
		"k8s.io/", "sigs.k8s.io/gateway-api", "sigs.k8s.io/controller-runtime", "go.etcd.io/", "github.com/hashicorp/",
		"github.com/envoyproxy/", "github.com/cilium/ebpf", "github.com/prometheus/prometheus", "helm.sh/",
		"github.com/spf13/cobra", module + "internal/control", module + "internal/config", module + "internal/platform",
		module + "internal/cli",
	}
	for _, p := range list(t, "./cmd/weft-proxy") {
		for _, dep := range p.Deps {
			for _, b := range banned {
				if strings.HasPrefix(dep, b) {
					t.Errorf("weft-proxy links %s; it is the data plane alone", dep)
				}
			}
		}
	}
}
