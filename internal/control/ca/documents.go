package ca

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// documentFormat is the first byte of what SealDocument returns; the ID of the key file follows, then AES-256-GCM with
// a random nonce in front.
const documentFormat = 1

// newDocumentAEAD returns the cipher of documents, whose key is another than that of the CA's own keys.
func newDocumentAEAD(key []byte) (cipher.AEAD, error) {
	own, err := hkdf.Key(sha256.New, key, nil, "weft documents v1", keyBytes)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	return aead, nil
}

func (c *CA) documentContext(place string) []byte {
	return []byte("weft document v1\x00" + c.trustDomain + "\x00" + place)
}

// SealDocument encrypts a text for the store with the key file of the CA, which the store does not have. Place says
// what it is of: it opens nowhere else. It may be called from any goroutine.
func (c *CA) SealDocument(place string, text []byte) []byte {
	out := append([]byte{documentFormat}, c.seal.id...)
	return c.seal.documents.Seal(out, nil, text, c.documentContext(place))
}

// OpenDocument is the inverse of SealDocument. Its errors quote nothing.
func (c *CA) OpenDocument(place string, sealed []byte) ([]byte, error) {
	head := 1 + len(c.seal.id)
	switch {
	case len(sealed) < head || sealed[0] != documentFormat:
		return nil, errors.New("it is not sealed as this version of Weft does")
	case !bytes.Equal(sealed[1:head], c.seal.id):
		return nil, errors.New("it was sealed with another key file than this control plane's")
	}
	text, err := c.seal.documents.Open(nil, nil, sealed[head:], c.documentContext(place))
	if err != nil {
		return nil, errors.New("it does not open: it was changed, or is of another resource")
	}
	return text, nil
}
