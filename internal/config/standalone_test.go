package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	mathrand "math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

var testNow = time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)

// testFiles makes certificates and keys: a and b are valid at testNow, old is expired.
func testFiles(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, end := range map[string]time.Time{"a": testNow.AddDate(1, 0, 0), "b": testNow.AddDate(0, 0, 3), "old": testNow.AddDate(0, 0, -1)} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
			NotBefore: testNow.AddDate(-1, 0, 0), NotAfter: end,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out[name+".crt"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		if name == "a" {
			out["a.crl"] = testRevocations(t, key)
		}
		out[name+".key"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	}
	return out
}

// testRevocations is a list of revoked certificates that holds at testNow.
func testRevocations(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "a"}, SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: testNow.AddDate(0, 0, -1), NextUpdate: testNow.AddDate(0, 0, 7),
	}, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// fill replaces @a.crt@ by the certificate in base64 and @a.crt.json@ by it as a string.
func fill(src document.Source, files map[string]string) document.Source {
	text := string(src.Data)
	for name, content := range files {
		quoted, _ := json.Marshal(content)
		text = strings.ReplaceAll(text, "@"+name+"@", base64.StdEncoding.EncodeToString([]byte(content)))
		text = strings.ReplaceAll(text, "@"+name+".json@", string(quoted))
	}
	src.Data = []byte(text)
	return src
}

// standaloneInput is what the tests compile with: the files of testFiles are in the folder tls.
func standaloneInput(resources []Resource, files map[string]string) StandaloneInput {
	return StandaloneInput{Resources: resources, Now: testNow, ReadFile: func(name string) ([]byte, error) {
		if content, ok := files[strings.TrimPrefix(name, "tls/")]; ok && strings.HasPrefix(name, "tls/") {
			return []byte(content), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}}
}

// checkRules fails when a proxy would refuse rules, or their filters and policies are out of bounds.
func checkRules(t testing.TB, where string, rules []model.Rule) {
	t.Helper()
	if _, err := route.Compile(rules); err != nil {
		t.Errorf("%s: the proxy refuses what was accepted: %v", where, err)
	}
	for i := range rules {
		r, f := &rules[i], &rules[i].Filters
		var changes []*model.PathChange
		if f.Redirect != nil {
			changes = append(changes, f.Redirect.Path)
			if len(r.Backends) > 0 || f.Rewrite != nil || f.Redirect.Status < 301 || f.Redirect.Status > 308 {
				t.Errorf("%s: rule %s: redirect %+v beside %d backends", where, r.Ref, f.Redirect, len(r.Backends))
			}
		}
		if f.Rewrite != nil {
			changes = append(changes, f.Rewrite.Path)
		}
		for _, c := range changes {
			if _, err := route.CompilePathChange(c); err != nil {
				t.Errorf("%s: rule %s: %v", where, r.Ref, err)
			}
			if c != nil && c.Type == model.ChangePrefix && r.Ref.Kind == "HTTPRoute" && (len(r.Matches) != 1 || r.Matches[0].Path.Type != model.Prefix) {
				t.Errorf("%s: rule %s replaces a prefix that it does not match", where, r.Ref)
			}
		}
		for _, m := range f.Mirrors {
			if m.Share < 0 || m.Share > 1 {
				t.Errorf("%s: rule %s: share %v", where, r.Ref, m.Share)
			}
		}
		if p := r.Policy; p != nil && r.Ref.Kind == "HTTPRoute" {
			if p.Timeout < 0 || p.BackendTimeout < 0 || p.NoTimeout && p.Timeout > 0 || p.Retry != nil && p.Retry.Attempts > 10 {
				t.Errorf("%s: rule %s: policy %+v", where, r.Ref, p)
			}
		}
	}
}

// checkSnapshot fails when a proxy would refuse what was compiled.
func checkSnapshot(t testing.TB, s *model.Snapshot) {
	t.Helper()
	services := map[model.ServiceName]bool{}
	for _, svc := range s.Services {
		services[svc.Name] = true
	}
	type place struct {
		at  netip.AddrPort
		udp bool
	}
	seen := map[place]bool{}
	for _, socket := range s.Sockets {
		at := place{socket.Address, socket.Kind.Datagrams()}
		if seen[at] || len(socket.Listeners) == 0 || socket.Kind == "" || socket.Address.Port() == 0 {
			t.Errorf("socket %s of kind %q with %d listeners, seen %v", socket.Address, socket.Kind, len(socket.Listeners), seen[at])
		}
		seen[at] = true
		for _, ln := range socket.Listeners {
			kind := socket.KindOf(&ln)
			if kind.TLS() && len(ln.Certificates) == 0 {
				t.Errorf("listener %s has no certificate", ln.Name)
			}
			if ln.ClientCA != "" {
				if err := gateway.CheckAuthorities(ln.ClientCA); err != nil || !kind.TLS() {
					t.Errorf("listener %s of kind %s, mode %q: %v", ln.Name, kind, ln.ClientMode, err)
				}
			}
			checkRules(t, ln.Name, ln.Rules)
			for _, r := range ln.Rules {
				for _, m := range r.Filters.Mirrors {
					if m.Invalid == "" && !services[m.Service] {
						t.Errorf("listener %s: service %s of a mirror is not in the snapshot", ln.Name, m.Service)
					}
				}
				for _, b := range r.Backends {
					if b.Invalid == "" && !services[b.Service] {
						t.Errorf("listener %s: service %s is not in the snapshot", ln.Name, b.Service)
					}
				}
			}
		}
	}
}

// readable returns what was compiled without what differs in each run.
func readable(t testing.TB, out *Standalone, files map[string]string) []byte {
	t.Helper()
	status := map[string][]Condition{}
	for k, v := range out.Status {
		status[k.String()] = v
	}
	var problems []string
	for _, p := range out.Problems {
		text := p.Error()
		if p.Warning {
			text = "warning: " + text
		}
		problems = append(problems, text)
	}
	text := string(encode(t, struct {
		Problems []string
		Files    []string
		Status   map[string][]Condition
		Snapshot *model.Snapshot
	}{problems, out.Files, status, out.Snapshot.Redacted()}))
	for name, content := range files {
		quoted, _ := json.Marshal(content)
		text = strings.ReplaceAll(text, string(quoted), fmt.Sprintf("%q", "["+name+"]"))
		if strings.Contains(text, strings.ReplaceAll(content, "\n", `\n`)) {
			t.Errorf("%s is shown", name)
		}
	}
	return []byte(text)
}

func TestStandaloneGoodFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/standalone/good/*.yaml")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	files := testFiles(t)
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			resources, problems := ParseStandalone([]document.Source{fill(source(t, name), files)}, document.Limits{})
			if problems.Failed() {
				t.Fatal(problems.Err())
			}
			out := CompileStandalone(standaloneInput(resources, files))
			checkSnapshot(t, out.Snapshot)
			if strings.HasPrefix(filepath.Base(name), "conflict") != out.Problems.Failed() {
				t.Error(out.Problems.Err())
			}
			out.Problems = append(problems, out.Problems...)
			golden(t, strings.TrimSuffix(name, ".yaml")+".want.json", readable(t, out, files))
		})
	}
}

func TestStandaloneBadFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/standalone/bad/*.bad.yaml")
	if err != nil || len(names) < 90 {
		t.Fatal(len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".bad.yaml"), func(t *testing.T) {
			resources, problems := ParseStandalone([]document.Source{source(t, name)}, document.Limits{})
			if resources != nil || !problems.Failed() {
				t.Fatalf("taken: %v, problems %v", resources, problems)
			}
			var out bytes.Buffer
			for _, p := range problems {
				configtest.Told(t, p)
				if strings.Contains(p.Error(), "hunter2") || strings.Contains(p.Error(), "aHVudGVyMg") {
					t.Errorf("a secret is shown: %v", p)
				}
				fmt.Fprintln(&out, p.Error())
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".want", out.Bytes())
		})
	}
}

// TestStandaloneOrder compiles the same documents, each a file of its own, in many orders.
func TestStandaloneOrder(t *testing.T) {
	names, err := filepath.Glob("testdata/standalone/good/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := testFiles(t)
	rnd := mathrand.New(mathrand.NewPCG(7, 8))
	for _, name := range names {
		var docs []document.Source
		for i, text := range bytes.Split(fill(source(t, name), files).Data, []byte("\n---\n")) {
			docs = append(docs, document.Source{File: fmt.Sprintf("%d.yaml", i), Data: text})
		}
		var want []byte
		for range 30 {
			rnd.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
			resources, problems := ParseStandalone(docs, document.Limits{})
			if problems.Failed() {
				t.Fatal(problems.Err())
			}
			got := readable(t, CompileStandalone(standaloneInput(resources, files)), files)
			if want == nil {
				want = got
			}
			if !bytes.Equal(want, got) {
				t.Fatal(name, cmp.Diff(string(want), string(got)))
			}
		}
	}
}
