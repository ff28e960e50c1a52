package control

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// testPair is a certificate with its key, and what must be found nowhere.
type testPair struct {
	cert, key string
	hidden    [][]byte
}

func newPair(t *testing.T, host string) *testPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &testPair{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// As bytes, as a line of PEM, and as base64 of the PEM wherever in the text it begins.
	p.hidden = [][]byte{scalar, []byte(strings.Split(p.key, "\n")[1])}
	for from := range 3 {
		p.hidden = append(p.hidden, []byte(base64.StdEncoding.EncodeToString([]byte(p.key)[40+from:70+from])))
	}
	return p
}

// document is the pair as a Secret: its values in base64, or as they are.
func (p *testPair) document(name string, encoded bool) string {
	head := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/tls\n", name)
	if encoded {
		b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
		return head + fmt.Sprintf("data: {tls.crt: %q, tls.key: %q}\n", b64(p.cert), b64(p.key))
	}
	return head + fmt.Sprintf("stringData: {tls.crt: %q, tls.key: %q}\n", p.cert, p.key)
}

// shows reports whether something shows the key.
func (p *testPair) shows(b []byte) bool {
	for _, h := range p.hidden {
		if bytes.Contains(b, h) {
			return true
		}
	}
	return false
}

const secretGateway = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  tls: {backend: {clientCertificateRef: {name: tls}}}
  listeners: [{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: tls}]}}]
`

// secretOutside has a host outside shown the same certificate.
const secretOutside = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec: {hosts: [out.test], resolution: STATIC, ports: [{number: 443, name: https, protocol: HTTPS}], endpoints: [{address: 192.0.2.1}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec: {host: out.test, trafficPolicy: {tls: {mode: MUTUAL, credentialName: tls}}}
`

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// lastOf keeps the last snapshot that a proxy was to run.
type lastOf struct {
	mu sync.Mutex
	s  *model.Snapshot
}

func (l *lastOf) apply(s *model.Snapshot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s = s
	return nil
}

// key is that of the gateway's listener, "" when there is no listener.
func (l *lastOf) key() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s == nil || len(l.s.Sockets) == 0 {
		return ""
	}
	return string(l.s.Sockets[0].Listeners[0].Certificates[0].Key)
}

// shown wants the key of a Secret that endpoints outside are shown.
func (l *lastOf) shown(t *testing.T, name, key string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := string(l.s.Secrets[name].Key); got != key {
		t.Errorf("of the Secret %s the proxy has a key of %d bytes, want one of %d", name, len(got), len(key))
	}
}

// TestSecretsAreKept has Secrets go through all that a document goes through, in both kinds of stores, and looks for
// their keys in the store, in files, answers and logs.
func TestSecretsAreKept(t *testing.T) {
	for _, kind := range []string{"embedded", "etcd"} {
		t.Run(kind, func(t *testing.T) {
			var log logBuffer
			dir, url, keyFile := shortDir(t), "", filepath.Join(t.TempDir(), "ca.key")
			if kind == "etcd" {
				url = outsideEtcd(t)
			}
			start := func() *plane {
				return startPlane(t, dir, func(o *Options) {
					o.Store.URL, o.CAKey = url, keyFile
					o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
			}
			p := start()
			one, two := newPair(t, "one.test"), newPair(t, "two.test")
			pairs := []*testPair{one, two}
			var edge, web lastOf
			gateway := p.joinAs("edge", &discoveryv1.Node{Id: "edge-1", Service: "edge", Gateway: "default/edge", Bind: []string{"127.0.0.1"}}, edge.apply)
			sidecar := p.join("web", "web-1", web.apply)
			note := func(m proto.Message) { checkAnswer(t, m, pairs) }
			apply := func(text, want, key string) {
				t.Helper()
				resp, err := p.apply(text, false)
				if err != nil {
					t.Fatal(err)
				}
				note(resp)
				if got := resp.GetChanges()[0].GetAction(); got != want {
					t.Errorf("it was %s, want %s", got, want)
				}
				if r := p.wait(resp.GetRevision(), 30*time.Second); r.GetProxies() != 2 || len(r.GetRefusals())+len(r.GetPending()) > 0 {
					t.Errorf("wait: %v", r)
				}
				if edge.key() != key {
					t.Error("the gateway does not have the key that was applied")
				}
			}
			apply(one.document("tls", true)+secretGateway+secretOutside, "created", one.key)
			if known, err := sidecar.client.Lookup(t.Context(), model.ServiceName{Namespace: "default", Name: "out.test"}); err != nil || !known {
				t.Fatal(known, err)
			}
			web.shown(t, "default/tls", one.key)
			apply(one.document("tls", true), "unchanged", one.key)
			apply(two.document("tls", false), "configured", two.key)
			web.shown(t, "default/tls", two.key)
			collectAnswers(t, p, note)
			back, err := p.rollback(&adminv1.RollbackRequest{})
			if err != nil {
				t.Fatal(err)
			}
			note(back)
			p.wait(back.GetRevision(), 30*time.Second)
			if edge.key() != one.key {
				t.Error("rollback does not bring the key back")
			}
			checkConditionOfDeleted(t, p, &edge, note)
			web.mu.Lock()
			if len(web.s.Sockets) > 0 || web.s.ClientCertificate != nil {
				t.Error("a sidecar has the listeners of a gateway")
			}
			web.mu.Unlock()
			checkStoreIsSealed(t, p, pairs)
			gateway.stop()
			sidecar.stop()
			p.stop()
			p = start() // what is sealed opens again
			again := p.joinAs("edge", &discoveryv1.Node{Id: "edge-2", Service: "edge", Gateway: "default/edge"}, edge.apply)
			if edge.key() != one.key {
				t.Error("after a restart the gateway has another key")
			}
			again.stop()
			p.stop()
			if shown(pairs, log.bytes()) {
				t.Error("the log shows a key")
			}
			checkFiles(t, dir, pairs, kind == "embedded")
		})
	}
}

// shown reports whether something shows one of the keys.
func shown(pairs []*testPair, b []byte) bool {
	return slices.ContainsFunc(pairs, func(p *testPair) bool { return p.shows(b) })
}

// checkAnswer looks at an answer of the API, as JSON and with the lines of its texts as lines.
func checkAnswer(t *testing.T, m proto.Message, pairs []*testPair) {
	t.Helper()
	b, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if shown(pairs, b) || shown(pairs, []byte(strings.ReplaceAll(string(b), `\n`, "\n"))) {
		t.Errorf("an answer shows a key: %.200s", b)
	}
}

// collectAnswers asks the API for all that it says of resources.
func collectAnswers(t *testing.T, p *plane, note func(proto.Message)) {
	t.Helper()
	list, err := p.client.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	note(list.Msg)
	text := ""
	for _, r := range list.Msg.GetResources() {
		if r.GetRef().GetKind() == "Secret" {
			text = r.GetYaml()
		}
	}
	for _, want := range []string{"two.test", "tls.key: '[hidden]'", "expires 2"} {
		if !strings.Contains(text, want) {
			t.Errorf("what is shown of the Secret lacks %q:\n%s", want, text)
		}
	}
	for _, e := range p.history(&adminv1.HistoryRequest{}) {
		resp, err := p.client.History(p.ctx(), connect.NewRequest(&adminv1.HistoryRequest{Revision: e.GetRevision()}))
		if err != nil {
			t.Fatal(err)
		}
		note(resp.Msg)
	}
	for _, proxy := range []string{"edge-1", "web-1"} {
		snap, err := p.client.GetSnapshot(p.ctx(), connect.NewRequest(&adminv1.GetSnapshotRequest{Proxy: proxy}))
		if err != nil {
			t.Fatal(err)
		}
		note(snap.Msg)
	}
	proxies, err := p.client.ListProxies(p.ctx(), connect.NewRequest(&adminv1.ListProxiesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	note(proxies.Msg)
	services, err := p.client.ListServices(p.ctx(), connect.NewRequest(&adminv1.ListServicesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	note(services.Msg)
	_, err = p.apply(text, false)
	if err == nil || !strings.Contains(fmt.Sprint(details(err)), "Weft never shows it") {
		t.Errorf("what is shown is taken for the Secret: %v", details(err))
	}
}

// details are the problems of an error.
func details(err error) (out []string) {
	if ce, ok := errors.AsType[*connect.Error](err); ok {
		for _, d := range ce.Details() {
			if v, err := d.Value(); err == nil {
				out = append(out, fmt.Sprint(v))
			}
		}
	}
	return out
}

// checkConditionOfDeleted takes the Secret away and back.
func checkConditionOfDeleted(t *testing.T, p *plane, edge *lastOf, note func(proto.Message)) {
	t.Helper()
	key := edge.key()
	resp, err := p.client.Delete(p.ctx(), connect.NewRequest(&adminv1.DeleteRequest{Resources: []*adminv1.ResourceRef{{Kind: "secret", Name: "tls"}}}))
	if err != nil {
		t.Fatal(err)
	}
	note(resp.Msg)
	p.wait(resp.Msg.GetRevision(), 30*time.Second)
	if edge.key() != "" {
		t.Error("the listener goes on without its Secret")
	}
	list, err := p.client.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{Kind: "gateways"}))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(list.Msg.GetResources()[0].GetConditions()); !strings.Contains(text, "InvalidCertificateRef") || !strings.Contains(text, "there is no Secret default/tls") {
		t.Errorf("conditions: %s", text)
	}
	back, err := p.rollback(&adminv1.RollbackRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p.wait(back.GetRevision(), 30*time.Second)
	if edge.key() != key {
		t.Error("the Secret does not come back")
	}
}

// checkStoreIsSealed looks at all values of the store, those that are compressed too.
func checkStoreIsSealed(t *testing.T, p *plane, pairs []*testPair) {
	t.Helper()
	resp, err := p.s.store.Client().Get(p.ctx(), p.s.store.Prefix(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	unpacked := 0
	for _, kv := range resp.Kvs {
		value := kv.Value
		if r, err := gzip.NewReader(bytes.NewReader(value)); err == nil {
			if value, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
			unpacked++
		}
		if shown(pairs, value) {
			t.Errorf("store key %s shows a key", kv.Key)
		}
	}
	if unpacked == 0 || len(resp.Kvs) < 5 {
		t.Errorf("%d keys, %d compressed", len(resp.Kvs), unpacked)
	}
}

// checkFiles looks at all files of a directory, of which there are some if they are wanted.
func checkFiles(t *testing.T, dir string, pairs []*testPair, want bool) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		b, err := os.ReadFile(path)
		if err == nil && shown(pairs, b) {
			t.Errorf("%s shows a key", path)
		}
		return err
	})
	if err != nil || want && n == 0 {
		t.Errorf("%d files: %v", n, err)
	}
}

// TestSecretsGoToTheirGateway gives a Secret to no proxy but those of the Gateway that refers to it.
func TestSecretsGoToTheirGateway(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	pair := newPair(t, "one.test")
	other := strings.Replace(secretGateway, "name: edge", "name: other", 1)
	other = strings.ReplaceAll(other, "name: tls", "name: none")
	if _, err := p.apply(pair.document("tls", true)+secretGateway+other, false); err != nil {
		t.Fatal(err)
	}
	var got lastOf
	p.joinAs("other", &discoveryv1.Node{Id: "other-1", Service: "other", Gateway: "default/other"}, got.apply)
	if got.key() != "" || got.s.ClientCertificate != nil {
		t.Error("the gateway of another Gateway has the key")
	}
	w := p.join("web", "web-1", func(*model.Snapshot) error { return nil })
	stream := w.api.Delta(p.ctx())
	if err := stream.Send(&discoveryv1.DeltaRequest{Node: &discoveryv1.Node{Id: "thief", Service: "edge", Gateway: "default/edge"}}); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.Receive(); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a workload that says it is the gateway: %v, %v", resp, err)
	}
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}
