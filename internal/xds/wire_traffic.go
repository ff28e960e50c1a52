package xds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// What a rule or a service says about traffic travels as the model's own JSON: only Weft's proxies read it, it
// changes seldom, and it would otherwise be written down a third time.

// jsonToWire encodes v; nil stands for what is empty.
func jsonToWire(v any, empty bool) []byte {
	if empty {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		// Only a float that is no number can fail here, and validation admits none. What cannot be decoded is
		// refused by the proxy, which says so.
		return []byte(err.Error())
	}
	return b
}

// jsonFromWire decodes b into v. A field this program does not know is refused: to leave out a limit or a fault
// that was asked for would be to widen what is allowed without a word.
func jsonFromWire(b []byte, v any, what string) error {
	if len(b) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%s: more than one value", what)
	}
	return nil
}

// optionalFromWire is jsonFromWire for what may be absent.
func optionalFromWire[T any](b []byte, what string) (*T, error) {
	if len(b) == 0 {
		return nil, nil
	}
	v := new(T)
	return v, jsonFromWire(b, v, what)
}
