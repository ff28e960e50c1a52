package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestFilesOfListeners: the contents of files are put in place of their names, those of CAs and of lists of revoked
// certificates too, in a copy; a file that is not there, or outside of the directory, is an error.
func TestFilesOfListeners(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"crt", "key", "ca", "each", "crl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reader := func() *certificateReader {
		r := &certificateReader{dir: dir, files: map[string]fileMark{}}
		t.Cleanup(r.close)
		return r
	}
	checks := &model.ClientChecks{Names: []string{"a"}, RevokedFile: "crl"}
	certificates := []model.Certificate{{ChainFile: "crt", KeyFile: "key", ClientCAFile: "each"}, {Chain: "inline", ClientCA: "its"}}
	ln := model.Listener{Certificates: certificates, ClientCAFile: "ca", ClientChecks: checks}
	r := reader()
	if err := r.fill(&ln); err != nil {
		t.Fatal(err)
	}
	want := model.Certificate{Chain: "text of crt", Key: "text of key", ClientCA: "text of each"}
	if ln.Certificates[0] != want || ln.Certificates[1] != certificates[1] || ln.ClientCA != "text of ca" || ln.ClientCAFile != "" {
		t.Errorf("%+v", ln)
	}
	if c := ln.ClientChecks; c.Revoked != "text of crl" || c.RevokedFile != "" || len(c.Names) != 1 || checks.RevokedFile != "crl" || certificates[0].ChainFile != "crt" {
		t.Errorf("%+v, and what was read from: %+v", c, checks)
	}
	if len(r.files) != 5 {
		t.Errorf("these files are followed: %v", r.files)
	}
	tls, err := reader().fillTLS(model.UpstreamTLS{CAFile: "ca", RevokedFile: "crl", Certificate: &model.Certificate{ChainFile: "crt", KeyFile: "key"}})
	if err != nil || tls.CA != "text of ca" || tls.Revoked != "text of crl" || tls.RevokedFile != "" || tls.Certificate.Key != "text of key" {
		t.Errorf("%+v, %v", tls, err)
	}
	sidecar := &edge{a: &Agent{o: Options{Certificates: dir}, log: slog.New(slog.DiscardHandler)}, files: map[string]fileMark{}}
	up := func(crl string) *model.Upstream {
		return &model.Upstream{TLS: &model.UpstreamTLS{CAFile: "ca", RevokedFile: crl}}
	}
	asked := &model.Snapshot{Services: []model.Service{{Upstream: up("crl"), Rules: []model.Rule{{Backends: []model.Backend{{Upstream: up("none")}, {}}}}}, {}}}
	full, _, err := sidecar.fill(asked, false)
	if err != nil {
		t.Fatal(err)
	}
	whole, subset := full.Services[0].Upstream.TLS, full.Services[0].Rules[0].Backends[0].Upstream.TLS
	if whole.CA != "text of ca" || whole.Revoked != "text of crl" || whole.Invalid != "" || !strings.Contains(subset.Invalid, "there is no file none") {
		t.Errorf("a sidecar's services: %+v, of a subset %+v", whole, subset)
	}
	if asked.Services[0].Upstream.TLS.CAFile == "" || asked.Services[0].Rules[0].Backends[0].Upstream.TLS.Invalid != "" {
		t.Error("what was asked for is changed")
	}
	sidecar.a.o.Egress = true
	if _, _, err := sidecar.fill(asked, false); err == nil || !strings.Contains(err.Error(), "there is no file none") {
		t.Errorf("an egress gateway takes what it cannot do: %v", err)
	}
	for name, want := range map[string]string{"none": "there is no file none", "../crl": "a file of"} {
		bad := model.Listener{ClientChecks: &model.ClientChecks{RevokedFile: name}}
		if err := reader().fill(&bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
