package native

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// tunnel is where endpoints that are forward proxies carry connections of bytes.
type tunnel struct {
	Host   string `json:"host"`
	Port   *int64 `json:"port"`
	Method string `json:"method"`
}

func (c *checker) tunnel(in *tunnel, f *document.Field) *model.Tunnel {
	out := &model.Tunnel{
		Host: strings.ToLower(in.Host), Port: uint16(c.integer(in.Port, 1, 65535, 0, f.Key("port"))),
		Post: c.enum(in.Method, []string{"CONNECT", "POST"}, f.Key("method")) == "POST",
	}
	if in.Port == nil {
		c.add(f.Key("port"), "is missing", "write the port that the forward proxy is to connect to")
	}
	if _, err := netip.ParseAddr(out.Host); err != nil {
		if why := document.CheckSubdomain(out.Host); why != "" {
			c.add(f.Key("host"), fmt.Sprintf("%q is no DNS name or IP address", clip(in.Host)), why)
		}
	}
	return out
}
