package control

import (
	"cmp"
	"fmt"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
)

// sealer keeps texts that the store must not have as they are; see ca.CA.
type sealer interface {
	SealDocument(place string, text []byte) []byte
	OpenDocument(place string, sealed []byte) ([]byte, error)
}

// recordOf is a resource as the store keeps it: of a Secret what may be shown, and all of it sealed.
func recordOf(seal sealer, r *config.Resource) *resourceRecord {
	rec := &resourceRecord{YAML: r.YAML, File: r.File, BaseLine: r.BaseLine, Created: r.Created}
	if text := string(r.Private()); text != "" {
		rec.Sealed = seal.SealDocument(r.Key.String(), []byte(text))
	}
	return rec
}

// open makes what is sealed readable.
func (r *resourceRecord) open(seal sealer, key config.ResourceKey) error {
	if r == nil || len(r.Sealed) == 0 {
		return nil
	}
	text, err := seal.OpenDocument(key.String(), r.Sealed)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	r.private = string(text)
	return nil
}

// source is the document as it was written. The record has been opened.
func (r *resourceRecord) source() document.Source {
	return document.Source{File: r.File, Line: r.BaseLine, Data: []byte(cmp.Or(r.private, r.YAML))}
}
