package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/internal/identity/identitytest"
)

// foreignSVID returns files with an identity of a mesh that ours does not know.
func foreignSVID(t testing.TB, m *mesh) (cert, key, bundle string) {
	t.Helper()
	ca := identitytest.NewCA(t, "other.mesh")
	c, k, b := ca.PEM(t, ca.ID("default", "load"))
	write := func(name string, data []byte) string {
		path := filepath.Join(m.dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("svid.crt", c), write("svid.key", k), write("roots.crt", b)
}
