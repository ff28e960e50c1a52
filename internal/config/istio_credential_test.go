package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

const credentials = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example]
  resolution: STATIC
  ports: [{number: 443, name: https, protocol: HTTPS}]
  endpoints: [{address: 192.0.2.9, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db}
spec:
  host: db.example
  trafficPolicy: {tls: %s}
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {tls: {mode: MUTUAL, credentialName: two}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db.example]
  http: [{route: [{destination: {host: db.example, subset: v1}}]}]
---
apiVersion: v1
kind: Secret
metadata: {name: one-cacert}
data: {ca.crt: "@b.crt@", ca.crl: "@a.crl@"}
---
apiVersion: v1
kind: Secret
metadata: {name: opaque}
data: {tls.crt: "@b.crt@", ca.crt: "@b.crt@"}
`

// TestCredentialsOfTheMesh: a DestinationRule names a Secret, whose certificate is in no service, and whose CA is.
func TestCredentialsOfTheMesh(t *testing.T) {
	secrets := secretsOf(map[string]string{"default/one": "a", "default/two": "b", "istio-system/three": "a", "istio-system/one": "b"})
	for _, c := range []struct {
		tls, secret, cert string
		ca, revoked       bool
		told              string
	}{
		{"{mode: MUTUAL, credentialName: one}", "default/one", "a.crt", true, true, ""},
		{"{mode: MUTUAL, credentialName: three}", "istio-system/three", "a.crt", false, false, ""},
		{"{mode: SIMPLE, credentialName: one}", "", "", true, true, ""},
		{"{mode: SIMPLE, credentialName: opaque}", "", "", true, false, ""},
		{"{mode: MUTUAL, credentialName: none}", "", "", false, false, "there is no Secret default/none"},
		{"{mode: SIMPLE, credentialName: three}", "", "", false, false, "there is no Secret istio-system/three with ca.crt"},
		{"{mode: MUTUAL, credentialName: opaque}", "", "", true, false, "the Secret default/opaque is not of type kubernetes.io/tls"},
	} {
		mesh, problems, files := compileTLS(t, fmt.Sprintf(credentials, c.tls)+secrets)
		s := mesh.Services[model.ServiceName{Namespace: "default", Name: "db.example"}]
		if s == nil || s.Upstream == nil || s.Upstream.TLS == nil {
			t.Fatalf("%s: %+v, %v", c.tls, s, problems)
		}
		tls := s.Upstream.TLS
		if tls.Secret != c.secret || tls.Certificate != nil || (tls.CA == files["b.crt"]) != c.ca || (tls.Revoked == files["a.crl"]) != c.revoked {
			t.Errorf("%s: %+v", c.tls, tls)
		}
		if got := mesh.Secret(c.secret); c.cert == "" && got != nil || c.cert != "" && (got == nil || got.Chain != files[c.cert]) {
			t.Errorf("%s: the certificate is %v", c.tls, got)
		}
		if c.told != "" && (!told(problems, c.told) || tls.Invalid != c.told) || c.told == "" && tls.Invalid != "" {
			t.Errorf("%s: %q, and told is %v", c.tls, tls.Invalid, problems)
		}
		if b := s.Rules[0].Backends[0]; b.Upstream == nil || b.Upstream.TLS == nil || b.Upstream.TLS.Secret != "default/two" || mesh.Secret("default/two") == nil {
			t.Errorf("%s: the subset is reached by %+v", c.tls, b.Upstream)
		}
		resolved := true
		for key, conditions := range mesh.Status {
			for _, x := range conditions {
				if key.Kind == "DestinationRule" && x.Type == ConditionResolvedRefs && strings.HasPrefix(x.Status, "F") {
					resolved = false
				}
			}
		}
		if resolved != (c.told == "") {
			t.Errorf("%s: ResolvedRefs %t", c.tls, resolved)
		}
	}
}
