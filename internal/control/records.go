package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/model"
)

// Keys below the store's prefix.
const (
	dirResources = "resources/" // KIND/NAMESPACE/NAME -> resourceRecord
	dirServices  = "registry/services/"
	dirVIPs      = "registry/vips/"
	dirEndpoints = "registry/endpoints/" // workload ID -> endpointRecord, leased
	dirInstances = "instances/"          // name -> instanceRecord, leased
	dirHistory   = "history/"            // ID/head -> historyRecord, ID/texts -> gzip of []historyText
	dirGuards    = "guards/"             // history ID -> guardRecord, until the guard has ended
	dirGuardians = "guardians/"          // history ID -> the control plane that runs the guard, leased
)

// resourceRecord is a resource in the store.
type resourceRecord struct {
	YAML     string    `json:"yaml"`             // of a Secret what may be shown of it
	Sealed   []byte    `json:"sealed,omitempty"` // of a Secret: the document, see ca.SealDocument
	File     string    `json:"file,omitempty"`
	BaseLine int       `json:"baseLine,omitempty"`
	Created  time.Time `json:"created"`

	private string // Sealed, opened
}

// serviceRecord is a service that was registered once. It stays when its endpoints go, and its address with it.
type serviceRecord struct {
	VIP      netip.Addr   `json:"vip"`
	Ports    []model.Port `json:"ports"`
	Versions []string     `json:"versions,omitempty"` // labels its endpoints have had, at most maxVersions
}

// endpointRecord is an instance of a service.
type endpointRecord struct {
	Service  model.ServiceName `json:"service"`
	Endpoint model.Endpoint    `json:"endpoint"`
}

// instanceRecord is a control plane that runs.
type instanceRecord struct {
	Address string    `json:"address"` // unix:///path or host:port of its proxy listener
	Started time.Time `json:"started"`
	Version string    `json:"version"`
}

func resourceKey(k config.ResourceKey) string {
	return dirResources + k.Kind + "/" + k.Namespace + "/" + k.Name
}

func parseResourceKey(s string) (config.ResourceKey, error) {
	parts := strings.Split(strings.TrimPrefix(s, dirResources), "/")
	if len(parts) != 3 {
		return config.ResourceKey{}, fmt.Errorf("key %q is not KIND/NAMESPACE/NAME", s)
	}
	return config.ResourceKey{Kind: parts[0], Namespace: parts[1], Name: parts[2]}, nil
}

// decode reads a record; what names the key in the error.
func decode[T any](key string, value []byte) (T, error) {
	var v T
	if err := json.Unmarshal(value, &v); err != nil {
		return v, fmt.Errorf("store key %s: %w", key, err)
	}
	return v, nil
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
