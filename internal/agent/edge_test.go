package agent

import (
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
	for name, want := range map[string]string{"none": "there is no file none", "../crl": "a file of"} {
		bad := model.Listener{ClientChecks: &model.ClientChecks{RevokedFile: name}}
		if err := reader().fill(&bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
