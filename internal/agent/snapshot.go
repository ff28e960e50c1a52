package agent

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/model"
)

// maxSnapshot bounds a snapshot file.
const maxSnapshot = 64 << 20

// ReadSnapshot reads a snapshot file, YAML or JSON. Unknown fields are errors.
func ReadSnapshot(name string) (*model.Snapshot, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if info.Size() > maxSnapshot {
		return nil, fmt.Errorf("snapshot %s: larger than %d MiB", name, maxSnapshot>>20)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s := new(model.Snapshot)
	if err := yaml.UnmarshalStrict(b, s); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return s, nil
}

// WriteSnapshot returns the file form of a snapshot: ReadSnapshot of it gives an equal one.
func WriteSnapshot(s *model.Snapshot) ([]byte, error) { return yaml.Marshal(s) }
