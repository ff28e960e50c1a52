package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// testCA signs certificates and lists of revoked ones.
type testCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newTestCA(t testing.TB, name string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{t, cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue signs a certificate with a serial number and alternative names.
func (ca *testCA) issue(serial int64, names x509.Certificate) *tls.Certificate {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	names.SerialNumber, names.Subject = big.NewInt(serial), pkix.Name{CommonName: fmt.Sprint(serial)}
	names.NotBefore, names.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	names.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, &names, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// revoke signs a list of revoked serial numbers that was made before a while, for an hour.
func (ca *testCA) revoke(before time.Duration, serials ...int64) string {
	ca.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-before), NextUpdate: time.Now().Add(time.Hour - before)}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca.cert, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// asText is a certificate with its key as documents have it.
func asText(t testing.TB, c *tls.Certificate) model.Certificate {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return model.Certificate{
		Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		Key:   model.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

// tlsAsker is a client of a gateway.
type tlsAsker struct {
	cert *tls.Certificate
	conf *tls.Config
}

// ask sends a request by HTTP/1.1 and wants it answered.
func (h tlsAsker) ask(at netip.AddrPort) (tls.ConnectionState, error) {
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}
	if h.conf != nil {
		conf = h.conf
		conf.InsecureSkipVerify, conf.ServerName = true, "a.example"
	}
	if h.cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return h.cert, nil }
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", at.String(), conf)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(c, "GET /echo HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		err = fmt.Errorf("answered %q", b)
	}
	return c.ConnectionState(), err
}

// httpsOf is a snapshot of one HTTPS listener.
func httpsOf(t testing.TB, backend netip.AddrPort, ln model.Listener) *model.Snapshot {
	if len(ln.Certificates) == 0 {
		ln.Certificates = []model.Certificate{webCertificate(t, "a.example", 1)}
	}
	ln.Name, ln.Rules = "https", toWeb()
	return edgeOf(backend, model.HTTP, model.Socket{Address: loopback, Kind: model.SocketHTTPS, Listeners: []model.Listener{ln}})
}

// TestClientsLetIn: which clients come in by what is said of their certificates, in both versions of TLS.
func TestClientsLetIn(t *testing.T) {
	ca, others := newTestCA(t, "ca"), newTestCA(t, "others")
	id, _ := url.Parse("spiffe://mesh.example/ns/default/sa/me")
	me := ca.issue(10, x509.Certificate{
		URIs: []*url.URL{id}, DNSNames: []string{"me.example", "*.all.example"}, EmailAddresses: []string{"me@mail.example"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)},
	})
	you := ca.issue(11, x509.Certificate{DNSNames: []string{"you.example"}})
	strange := others.issue(10, x509.Certificate{DNSNames: []string{"me.example"}})
	key, sum := sha256.Sum256(me.Leaf.RawSubjectPublicKeyInfo), sha256.Sum256(me.Leaf.Raw)
	pin, hash := base64.StdEncoding.EncodeToString(key[:]), hex.EncodeToString(sum[:])
	no := strings.Repeat("00", 32)
	names := func(n ...string) *model.ClientChecks { return &model.ClientChecks{Names: n} }
	revoked := func(lists ...string) *model.ClientChecks {
		return &model.ClientChecks{Revoked: strings.Join(lists, "")}
	}
	backend := server(t, app())
	for _, c := range []struct {
		what                   string
		mode                   model.ClientMode
		checks                 *model.ClientChecks
		me, you, strange, none bool // who is let in
	}{
		{"the CA's", model.ClientRequired, nil, true, true, false, false},
		{"the CA's, if given", model.ClientIfGiven, nil, true, true, false, true},
		{"whoever", model.ClientOptional, nil, true, true, true, true},
		{"whoever has one", model.ClientAny, nil, true, true, true, false},
		{"a URI", model.ClientRequired, names(id.String()), true, false, false, false},
		{"a DNS name", model.ClientRequired, names("x.example", "ME.example"), true, false, false, false},
		{"a DNS name below another", model.ClientRequired, names("x.all.example"), true, false, false, false},
		{"a mail address", model.ClientRequired, names("me@mail.example"), true, false, false, false},
		{"an IP address", model.ClientRequired, names("192.0.2.7"), true, false, false, false},
		{"a name, if given", model.ClientIfGiven, names("you.example"), false, true, false, true},
		{"the name of the subject", model.ClientRequired, names("10", "11"), false, false, false, false},
		{"a key", model.ClientRequired, &model.ClientChecks{Keys: []string{pin}}, true, false, false, false},
		{"a certificate", model.ClientRequired, &model.ClientChecks{Hashes: []string{no, hash}}, true, false, false, false},
		{"a key or a certificate", model.ClientRequired, &model.ClientChecks{Keys: []string{pin}, Hashes: []string{no}}, true, false, false, false},
		{"another certificate", model.ClientIfGiven, &model.ClientChecks{Hashes: []string{no}}, false, false, false, true},
		{"a key and another's name", model.ClientRequired, &model.ClientChecks{Keys: []string{pin}, Names: []string{"you.example"}}, false, false, false, false},
		{"nobody is revoked", model.ClientRequired, revoked(ca.revoke(0)), true, true, false, false},
		{"one is revoked", model.ClientIfGiven, revoked(ca.revoke(0, 10)), false, true, false, true},
		{"another's list", model.ClientRequired, revoked(others.revoke(0, 11)), false, false, false, false},
		{"a list that is over", model.ClientRequired, revoked(ca.revoke(2 * time.Hour)), false, false, false, false},
		{"a list of the future", model.ClientRequired, revoked(ca.revoke(-time.Minute)), false, false, false, false},
		{"a list that is over, and one in force", model.ClientRequired, revoked(ca.revoke(0, 11), ca.revoke(2*time.Hour)), true, false, false, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, at := newLab(t).gateway(httpsOf(t, backend, model.Listener{ClientCA: ca.pem, ClientMode: c.mode, ClientChecks: c.checks}), 1)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for _, who := range []struct {
					what string
					cert *tls.Certificate
					ok   bool
				}{{"me", me, c.me}, {"you", you, c.you}, {"a stranger", strange, c.strange}, {"nobody", nil, c.none}} {
					_, err := tlsAsker{who.cert, &tls.Config{MinVersion: version, MaxVersion: version}}.ask(at)
					if (err == nil) != who.ok {
						t.Errorf("%s, %s: %v, want ok %t", tls.VersionName(version), who.what, err, who.ok)
					}
				}
			}
		})
	}
}

// TestClientChecksOfResumedSessions: who is revoked cannot come in by a session from before.
func TestClientChecksOfResumedSessions(t *testing.T) {
	ca, backend := newTestCA(t, "ca"), server(t, app())
	me := ca.issue(10, x509.Certificate{DNSNames: []string{"me.example"}})
	server := webCertificate(t, "a.example", 1)
	l := newLab(t)
	with := func(list string) *model.Snapshot {
		return httpsOf(t, backend, model.Listener{Certificates: []model.Certificate{server}, ClientCA: ca.pem, ClientChecks: &model.ClientChecks{Revoked: list}})
	}
	e, at := l.gateway(with(ca.revoke(0)), 1)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		h := tlsAsker{me, &tls.Config{MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}}
		l.apply(e, with(ca.revoke(0)))
		for i := range 2 {
			state, err := h.ask(at)
			if err != nil || state.DidResume != (i == 1) {
				t.Fatalf("%s: session %d, resumed %t: %v", tls.VersionName(version), i, state.DidResume, err)
			}
		}
		l.apply(e, with(ca.revoke(0, 10)))
		if _, err := h.ask(at); err == nil {
			t.Errorf("%s: a revoked certificate is let in", tls.VersionName(version))
		}
	}
}

// TestTermsOfTLS: versions and suites that a listener agrees on.
func TestTermsOfTLS(t *testing.T) {
	backend := server(t, app())
	only := func(version uint16, suites ...uint16) *tls.Config {
		return &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: suites}
	}
	const gcm, cbc = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
	for _, c := range []struct {
		terms *model.TLSTerms
		conf  *tls.Config
		ok    bool
	}{
		{nil, only(tls.VersionTLS12, cbc), true},
		{&model.TLSTerms{Min: model.TLS13}, only(tls.VersionTLS12), false},
		{&model.TLSTerms{Min: model.TLS13}, only(tls.VersionTLS13), true},
		{&model.TLSTerms{Max: model.TLS12}, only(tls.VersionTLS13), false},
		{&model.TLSTerms{Max: model.TLS12}, only(tls.VersionTLS12), true},
		{&model.TLSTerms{Suites: []string{tls.CipherSuiteName(gcm)}}, only(tls.VersionTLS12, gcm, cbc), true},
		{&model.TLSTerms{Suites: []string{tls.CipherSuiteName(gcm)}}, only(tls.VersionTLS12, cbc), false},
		{&model.TLSTerms{Suites: []string{tls.CipherSuiteName(gcm)}}, only(tls.VersionTLS13), true},
	} {
		_, at := newLab(t).gateway(httpsOf(t, backend, model.Listener{Terms: c.terms}), 1)
		state, err := tlsAsker{nil, c.conf}.ask(at)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v, want ok %t", c.terms, err, c.ok)
		}
		if c.terms != nil && c.ok && len(c.terms.Suites) > 0 && state.Version == tls.VersionTLS12 && state.CipherSuite != gcm {
			t.Errorf("%+v: the suite is %s", c.terms, tls.CipherSuiteName(state.CipherSuite))
		}
	}
}

// TestCAOfEachCertificate: clients are verified by the CA of the certificate that they are shown.
func TestCAOfEachCertificate(t *testing.T) {
	forRSA, forECDSA := newTestCA(t, "rsa"), newTestCA(t, "ecdsa")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	old, now := asText(t, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}), webCertificate(t, "a.example", 1)
	old.ClientCA, now.ClientCA = forRSA.pem, forECDSA.pem
	_, at := newLab(t).gateway(httpsOf(t, server(t, app()), model.Listener{Certificates: []model.Certificate{now, old}, ClientMode: model.ClientRequired}), 1)
	for _, c := range []struct {
		ca    *testCA
		suite uint16
		ok    bool
	}{
		{forRSA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true},
		{forRSA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, false},
		{forECDSA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, false},
		{forECDSA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, true},
	} {
		conf := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{c.suite}}
		if _, err := (tlsAsker{c.ca.issue(5, x509.Certificate{}), conf}).ask(at); (err == nil) != c.ok {
			t.Errorf("a client of %s with %s: %v, want ok %t", c.ca.cert.Subject, tls.CipherSuiteName(c.suite), err, c.ok)
		}
	}
}

// TestListenersRefused: what a listener cannot do as it is said is refused, and not served otherwise.
func TestListenersRefused(t *testing.T) {
	ca := newTestCA(t, "ca")
	for want, ln := range map[string]model.Listener{
		"there is no CA":            {ClientMode: model.ClientRequired},
		"none is asked for":         {ClientChecks: &model.ClientChecks{Names: []string{"a"}}},
		"are not verified":          {ClientCA: ca.pem, ClientMode: model.ClientAny, ClientChecks: &model.ClientChecks{Revoked: ca.revoke(0)}},
		"has not been read":         {ClientCA: ca.pem, ClientChecks: &model.ClientChecks{RevokedFile: "a.crl"}},
		"no list of revoked":        {ClientCA: ca.pem, ClientChecks: &model.ClientChecks{Revoked: ca.pem}},
		"no SHA-256":                {ClientCA: ca.pem, ClientChecks: &model.ClientChecks{Keys: []string{"AAAA"}}},
		"unknown mode":              {ClientCA: ca.pem, ClientMode: "sometimes"},
		"unknown version":           {Terms: &model.TLSTerms{Min: "1.1"}},
		"unknown cipher suite":      {Terms: &model.TLSTerms{Suites: []string{"TLS_RSA_WITH_RC4_128_SHA"}}},
		"at least and TLS 1.2 at m": {Terms: &model.TLSTerms{Min: model.TLS13, Max: model.TLS12}},
	} {
		e := newLab(t).run(Options{Node: "gateway", Loops: 1})
		if err := e.Apply(httpsOf(t, loopback, ln)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestRevokedEndpoints: endpoints outside the mesh whose certificates are revoked are not reached, nor those of whom it
// cannot be known.
func TestRevokedEndpoints(t *testing.T) {
	ca, others := newTestCA(t, "ca"), newTestCA(t, "others")
	at := secureProgram(t, asText(t, ca.issue(20, x509.Certificate{DNSNames: []string{"db.example", "other.example"}})), false, nil)
	for _, c := range []struct {
		what string
		tls  model.UpstreamTLS
		ok   bool
	}{
		{"nobody", model.UpstreamTLS{Revoked: ca.revoke(0)}, true},
		{"another", model.UpstreamTLS{Revoked: ca.revoke(0, 21)}, true},
		{"this one", model.UpstreamTLS{Revoked: ca.revoke(0, 20)}, false},
		{"by name, another", model.UpstreamTLS{Revoked: ca.revoke(0, 21), Names: []string{"other.example"}}, true},
		{"by name, this one", model.UpstreamTLS{Revoked: ca.revoke(0, 20), Names: []string{"other.example"}}, false},
		{"a list of another CA", model.UpstreamTLS{Revoked: others.revoke(0)}, false},
		{"a file that was not read", model.UpstreamTLS{RevokedFile: "a.crl"}, false},
	} {
		c.tls.Hostname, c.tls.CA = "db.example", ca.pem
		s := model.Service{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}}, Upstream: &model.Upstream{TLS: &c.tls},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: at, Plain: true, Protocol: model.HTTP}},
		}
		cl := newClient(t, newLab(t).edge(toAll(), s))
		for range 2 {
			if code, body, _ := cl.get("/"); (code == 200) != c.ok || !c.ok && (code != 503 || !strings.Contains(body, "TLS")) {
				t.Errorf("%s: %d %q, want ok %t", c.what, code, body, c.ok)
			}
		}
	}
}
