package istio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The structs of types*.go mirror Istio's messages by name and field, so that documents are read strictly and with
// positions. A test compares them with the descriptors of istio.io/api.

// resource is what all documents have.
type resource[T any] struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              T `json:"spec"`
}

// duration is a google.protobuf.Duration in its JSON form ("1.5s"), or as Istio's documentation has it ("1h30m").
type duration struct{ time.Duration }

// maxDuration bounds every duration of a document.
const maxDuration = 24 * time.Hour

// UnmarshalJSON reads "1.5s" or "2m".
func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New("it is no string; write one such as \"1.5s\"")
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil || strings.HasPrefix(s, "+"):
		return fmt.Errorf("%q is no duration; write one such as \"1.5s\"", clip(s))
	case v < 0 || v > maxDuration:
		return fmt.Errorf("%q is not between 0 and 24h; write one such as \"1.5s\"", clip(s))
	}
	d.Duration = v
	return nil
}

// of returns a duration that may be absent.
func of(d *duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

// stringMatch is Istio's StringMatch: at most one is set.
type stringMatch struct {
	Exact  *string `json:"exact"`
	Prefix *string `json:"prefix"`
	Regex  *string `json:"regex"`
}

// destination is Istio's Destination.
type destination struct {
	Host   string        `json:"host"`
	Subset string        `json:"subset"`
	Port   *portSelector `json:"port"`
}

type portSelector struct {
	Number uint32 `json:"number"`
}

type percent struct {
	Value float64 `json:"value"`
}

// workloadLabels is Istio's WorkloadSelector of ServiceEntry and Sidecar.
type workloadLabels struct {
	Labels map[string]string `json:"labels"`
}

// matchLabels is Istio's WorkloadSelector of DestinationRule.
type matchLabels struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// clip bounds what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
