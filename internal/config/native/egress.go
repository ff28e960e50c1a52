package native

import (
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// istioGroup is the group of ServiceEntry.
const istioGroup = "networking.istio.io"

// egress reads by which gateway requests leave the mesh: NAME, in the policy's namespace, or NAMESPACE/NAME.
func (c *checker) egress(in *egress, f *document.Field) *model.Egress {
	at := f.Key("gateway")
	if in.Gateway == "" {
		c.add(at, "is missing or empty", "write NAMESPACE/NAME of the gateway: what it was started with (weft gateway --egress --as)")
		return nil
	}
	namespace, name, ok := strings.Cut(in.Gateway, "/")
	if !ok {
		namespace, name = c.doc.Namespace, in.Gateway
	}
	for _, label := range []string{namespace, name} {
		if why := document.CheckLabel(label); why != "" {
			c.add(at, clip(in.Gateway)+" is not NAMESPACE/NAME of a gateway: "+why, "write for example infra/egress")
			return nil
		}
	}
	return &model.Egress{Gateway: model.ServiceName{Namespace: namespace, Name: name}}
}
