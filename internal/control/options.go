package control

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/control/store"
	"github.com/weft-mesh/weft/internal/model"
)

// Options say where the control plane keeps its state and where it listens.
type Options struct {
	DataDir     string        // embedded store, CA key, default sockets
	Store       store.Options // its DataDir and Logger are filled in
	CAKey       string        // file; default DataDir/ca.key
	TrustDomain string        // default "mesh.local"
	SVIDTTL     time.Duration // of workloads; default the CA's

	APISocket string // default DataDir/weft.sock
	APIListen string // HOST:PORT with TLS and a bearer token; "": none
	APICert   string // with APIListen: PEM files; default: one of its own, DataDir/api.crt
	APIKey    string
	TokenFile string // of the API's bearer token; default DataDir/api.token, made if missing

	ProxySocket string // default: beside APISocket; proxy.sock for weft.sock, x-proxy.sock for x.sock
	ProxyListen string // HOST:PORT; "": none
	Advertise   string // HOST:PORT at which proxies and other control planes reach ProxyListen; default itself

	Instance string // name among control planes; default host name and process ID
	Version  string
	Logger   *slog.Logger
}

func (o *Options) setDefaults() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DataDir == "" {
		return errors.New("no data directory: give --data-dir")
	}
	if o.TrustDomain == "" {
		o.TrustDomain = "mesh.local"
	}
	if err := model.CheckTrustDomain(o.TrustDomain); err != nil {
		return fmt.Errorf("--trust-domain %q: %w", o.TrustDomain, err)
	}
	if o.APISocket == "" {
		o.APISocket = filepath.Join(o.DataDir, "weft.sock")
	}
	if o.ProxySocket == "" {
		o.ProxySocket = proxySocketBeside(o.APISocket)
	}
	if (o.APICert == "") != (o.APIKey == "") {
		return errors.New("--api-cert and --api-key go together")
	}
	if o.TokenFile == "" {
		o.TokenFile = filepath.Join(o.DataDir, "api.token")
	}
	if o.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		o.Instance = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	o.Store.DataDir, o.Store.Logger = o.DataDir, o.Logger
	return nil
}

// proxySocketBeside names the proxies' socket after the API's, so that two control planes with different
// sockets in one directory do not meet.
func proxySocketBeside(api string) string {
	dir, name := filepath.Split(api)
	name = strings.TrimSuffix(name, ".sock")
	if name == "weft" {
		return filepath.Join(dir, "proxy.sock")
	}
	return filepath.Join(dir, name+"-proxy.sock")
}
