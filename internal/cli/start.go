package cli

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

// ServeOptions is what `weft serve` was told.
type ServeOptions struct {
	DataDir string // of the embedded store, the CA's key and the tokens
	Store   string // "" is the embedded etcd; else etcd://HOST:PORT[,HOST:PORT]...[/PREFIX]

	// Files for TLS to an outside store: PEM. Empty means no TLS, or the system's roots.
	StoreCA, StoreCert, StoreKey string
	StoreUser, StorePasswordFile string

	CAKey string // file of the key that seals the CA in the store; "" is ca.key in DataDir

	TrustDomain string
	Instance    string        // name of this control plane among those on one store; "" is made from the host's
	SVIDTTL     time.Duration // life of a workload's certificate

	Socket      string // of the API
	Listen      string // of the API over TLS; "" is none
	Cert, Key   string // PEM files of the API's certificate; "" is one of its own, api.crt in DataDir
	TokenFile   string // bearer token for Listen; made when missing
	ProxySocket string // where local proxies connect
	ProxyListen string // where proxies on other machines connect; "" is none

	Version string
	Logger  *slog.Logger
}

// RunOptions is what `weft run` was told; the texts of ports, upstreams and labels are not parsed yet.
type RunOptions struct {
	Service, Version, Namespace, Account string

	Ports        []string // [SERVICE_PORT:]PORT[/PROTOCOL]
	Health       string   // path; "" probes the port
	Capture      string   // "auto", "ebpf" or "explicit"
	Upstreams    []string // SERVICE[.NAMESPACE][:PORT][=LOCALPORT]
	Labels       []string // KEY=VALUE
	AccessLog    string   // file; "-" is stderr; "" is none
	Proxy        string   // path of weft-proxy; "" is beside this program, else in PATH
	Certificates string   // directory of the files that TLS to services outside the mesh names; "" is none
	Command      []string

	Admin  adminv1connect.AdminServiceClient
	Target string // the control plane, as messages name it
	Logger *slog.Logger

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// GatewayOptions is what `weft gateway` was told.
type GatewayOptions struct {
	Paths  func() ([]string, error)            // of the documents that there are now
	Read   func() ([]*adminv1.Document, error) // their contents
	Bind   []netip.Addr                        // where a Gateway without addresses binds; none is 127.0.0.1 and ::1
	Labels map[string]string                   // for the selectors of Istio's Gateways; nil is istio: ingressgateway

	// ACME is how listeners that ask for it get certificates; nil: they get none.
	ACME *GatewayACME

	// Join is how the gateway joins a mesh, in place of Paths and Read; nil: it serves documents of its own.
	Join *GatewayJoin

	Loops     int
	Admin     string // of the proxy; "" is none
	AccessLog string // file; "-" is stdout; "" is none
	Proxy     string // path of weft-proxy; "" is beside this program, else in PATH
	Check     bool   // say what is wrong with the documents and end
	LogLevel  string

	Warn, Fault func(*adminv1.Problem) // told of what is doubtful, and of what is wrong
	Serving     func(*model.Snapshot)  // told of what is served, at the start and after each change

	Logger *slog.Logger
	Stdout io.Writer
	Stderr io.Writer
}

// GatewayACME is what `weft gateway` was told of a CA.
type GatewayACME struct {
	Email     string
	Directory string // "" is Let's Encrypt
	RootFile  string // of the roots to trust for Directory; "" is the system's
	Storage   string // directory
}

// GatewayJoin is what `weft gateway` was told of the mesh that it joins.
type GatewayJoin struct {
	Gateway      string            // NAMESPACE/NAME of the Gateway it serves; "": those of Istio's that select Labels
	As           string            // NAMESPACE/NAME of its identity and service
	Labels       map[string]string // of its proxy
	Egress       *GatewayEgress    // it serves programs of the mesh; nil: clients outside
	Control      string            // where proxies reach the control plane; "": Client is asked
	TokenFile    string            // with Control
	Client       adminv1connect.AdminServiceClient
	Certificates string                   // directory of the files that listeners name; "" is none
	Listening    func(addresses []string) // told of what is served at the start
}

// GatewayEgress is where programs of the mesh reach a gateway.
type GatewayEgress struct {
	Inbound   netip.AddrPort
	Advertise netip.Addr // zero: the address of Inbound
}

// DemoOptions is what `weft demo` was told.
type DemoOptions struct {
	Name    string  // "bookinfo"
	Check   bool    // prove itself and end
	DataDir string  // "" is a temporary one
	Keep    bool    // keep the data and the logs
	Load    float64 // requests per second of the gentle load; 0 takes the sample's, negative none

	Logger *slog.Logger
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}
