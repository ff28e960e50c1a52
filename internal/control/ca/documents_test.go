package ca

import (
	"bytes"
	"strings"
	"testing"
)

// TestDocumentsAreSealed opens a document only where it belongs, with the key file it was sealed with.
func TestDocumentsAreSealed(t *testing.T) {
	s := openStore(t)
	dir := t.TempDir()
	c := mustOpen(t, Options{Store: s, DataDir: dir})
	text := []byte("kind: Secret, and a private key")
	sealed := c.SealDocument("Secret default/a", text)
	if bytes.Contains(sealed, text[:8]) || bytes.Equal(sealed, c.SealDocument("Secret default/a", text)) {
		t.Error("it is not sealed, or twice alike")
	}
	again := mustOpen(t, Options{Store: s, DataDir: dir}) // as another control plane with the same key file
	if got, err := again.OpenDocument("Secret default/a", sealed); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	foreign := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	for _, x := range []struct {
		name, place string
		ca          *CA
		sealed      []byte
		want        string
	}{
		{"of another resource", "Secret default/b", c, sealed, "of another resource"},
		{"changed", "Secret default/a", c, changed, "does not open"},
		{"cut", "Secret default/a", c, sealed[:12], "does not open"},
		{"empty", "Secret default/a", c, nil, "not sealed as"},
		{"of a later version", "Secret default/a", c, append([]byte{2}, sealed[1:]...), "not sealed as"},
		{"of another key file", "Secret default/a", foreign, sealed, "another key file"},
	} {
		if got, err := x.ca.OpenDocument(x.place, x.sealed); err == nil || !strings.Contains(err.Error(), x.want) || got != nil {
			t.Errorf("%s: %q, %v", x.name, got, err)
		}
	}
}
