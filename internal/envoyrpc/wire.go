package envoyrpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The wire format: https://protobuf.dev/programming-guides/encoding/.
const (
	varintType = 0
	fixed64    = 1
	bytesType  = 2
	startGroup = 3
	endGroup   = 4
	fixed32    = 5

	maxDepth  = 100
	maxNumber = 1<<29 - 1 // of a field
)

var (
	errCut     = errors.New("the message ends within a field")
	errVarint  = errors.New("a number has more than 64 bits")
	errNumber  = errors.New("a field has no valid number")
	errType    = errors.New("a field has a type that there is not")
	errGroup   = errors.New("a group does not end where it began")
	errText    = errors.New("a string is not UTF-8")
	errNesting = errors.New("groups are nested too deep")
)

// Header is a header field that a service asks for, as it wrote it.
type Header struct {
	Name, Value string
}

// appendTag begins a field.
func appendTag(b []byte, number, kind int) []byte {
	return binary.AppendUvarint(b, uint64(number)<<3|uint64(kind))
}

// appendText adds a string or bytes; what is empty is left out, as proto3 does.
func appendText[T string | []byte](b []byte, number int, s T) []byte {
	if len(s) == 0 {
		return b
	}
	return append(binary.AppendUvarint(appendTag(b, number, bytesType), uint64(len(s))), s...)
}

// appendMessage adds a message, however empty.
func appendMessage(b []byte, number int, m []byte) []byte {
	return append(binary.AppendUvarint(appendTag(b, number, bytesType), uint64(len(m))), m...)
}

// appendNumber adds a number; 0 is left out.
func appendNumber(b []byte, number int, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(appendTag(b, number, varintType), n)
}

// field is one of a message.
type field struct {
	number int
	kind   int
	n      uint64 // of a varint
	b      []byte // of bytesType; borrowed from the message
}

// is reports whether it is a known field with the type that it has to have; others are passed over, as protobuf does.
func (f *field) is(number, kind int) bool { return f.number == number && f.kind == kind }

// each calls f with the fields of a message that are numbers or bytes; the others are checked and passed over.
func each(b []byte, f func(*field) error) error {
	var x field
	for len(b) > 0 {
		rest, err := x.read(b, 0)
		if err != nil {
			return err
		}
		b = rest
		if x.kind == varintType || x.kind == bytesType {
			if err := f(&x); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes one field off b.
func (f *field) read(b []byte, depth int) (rest []byte, err error) {
	tag, b, err := number(b)
	if err != nil {
		return nil, err
	}
	if n := tag >> 3; n == 0 || n > maxNumber {
		return nil, errNumber
	}
	f.number, f.kind = int(tag>>3), int(tag&7)
	switch f.kind {
	case varintType:
		f.n, b, err = number(b)
		return b, err
	case fixed64:
		return skip(b, 8)
	case fixed32:
		return skip(b, 4)
	case bytesType:
		n, b, err := number(b)
		if err != nil {
			return nil, err
		}
		if n > uint64(len(b)) {
			return nil, errCut
		}
		f.b = b[:n]
		return b[n:], nil
	case startGroup:
		return skipGroup(b, f.number, depth+1)
	case endGroup:
		return nil, errGroup
	}
	return nil, errType
}

func skip(b []byte, n int) ([]byte, error) {
	if len(b) < n {
		return nil, errCut
	}
	return b[n:], nil
}

// skipGroup passes over the fields of a group, which b is behind the beginning of.
func skipGroup(b []byte, group, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errNesting
	}
	var x field
	for {
		tag, rest, err := number(b)
		if err != nil {
			return nil, err
		}
		if tag&7 == endGroup {
			if tag>>3 != uint64(group) {
				return nil, errGroup
			}
			return rest, nil
		}
		if b, err = x.read(b, depth); err != nil {
			return nil, err
		}
	}
}

// number takes a varint off b.
func number(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	switch {
	case size == 0:
		return 0, nil, errCut
	case size < 0:
		return 0, nil, errVarint
	}
	return n, b[size:], nil
}

// text is a string's field.
func text(b []byte) (string, error) {
	if !utf8.Valid(b) {
		return "", errText
	}
	return string(b), nil
}

// headerValue is envoy.config.core.v3.HeaderValue while it is read: the raw value holds where there are both.
type headerValue struct{ name, value, raw string }

func (h *headerValue) read(b []byte) error {
	return each(b, func(f *field) (err error) {
		switch {
		case f.is(1, bytesType):
			h.name, err = text(f.b)
		case f.is(2, bytesType):
			h.value, err = text(f.b)
		case f.is(3, bytesType):
			h.raw = string(f.b)
		}
		return err
	})
}

func (h *headerValue) header() Header {
	if h.raw != "" {
		return Header{h.name, h.raw}
	}
	return Header{h.name, h.value}
}

// prefixed is the length of what stands before a message of gRPC (gRPC over HTTP/2, "Length-Prefixed-Message").
const prefixed = 5

// MaxMessage is how many bytes a message that is received may have, without the prefix.
const MaxMessage = 64 << 10

// AppendFrame appends a message as gRPC sends it: uncompressed.
func AppendFrame(b, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, 0), uint32(len(message))), message...)
}

// Unframe returns the one message of a call's content.
func Unframe(b []byte) ([]byte, error) {
	switch {
	case len(b) < prefixed:
		return nil, errors.New("the answer has no message")
	case b[0] != 0:
		return nil, errors.New("the answer is compressed, and nobody asked for that")
	}
	n := binary.BigEndian.Uint32(b[1:])
	switch left := len(b) - prefixed; {
	case uint64(n) > uint64(left):
		return nil, fmt.Errorf("the answer is cut: %d bytes of %d", left, n)
	case uint64(n) < uint64(left):
		return nil, errors.New("the answer is more than one message")
	}
	return b[prefixed:], nil
}
