package hpack

import (
	"errors"
	"strings"
)

// Errors of a block that cannot be decoded. Each is the end of its connection (RFC 9113, section 4.3).
var (
	ErrTruncated = errors.New("hpack: the block ends within a field")
	ErrInteger   = errors.New("hpack: an integer out of bounds")
	ErrIndex     = errors.New("hpack: an index that no table has")
	ErrHuffman   = errors.New("hpack: an invalid Huffman code")
	ErrResize    = errors.New("hpack: a change of the table's size that is not allowed")
)

// Sink takes the fields of a block in their order.
type Sink interface {
	// Keep copies b to where it lives as long as the message whose block this is.
	Keep(b []byte) string
	// Field takes a field. Its strings are either Keep's or do not change at all. note is what the last call for
	// this entry of the table returned, 0 at first and for what is in no table: so a sink looks at what repeats
	// only once.
	Field(name, value string, note uint8) uint8
}

// Decoder reads the header blocks of one direction of a connection.
type Decoder struct {
	table   table
	codes   *codes
	scratch []byte // of the last Huffman code
}

// maxScratch bounds the memory kept for Huffman codes.
const maxScratch = 4 << 10

// NewDecoder returns a decoder whose table has MaxTable bytes, which is what SETTINGS say by default.
func NewDecoder() *Decoder {
	return &Decoder{table: table{max: MaxTable}, codes: huffmanCodes()}
}

// Decode reads a whole block. After an error the state is undefined and the connection has to end.
func (d *Decoder) Decode(block []byte, to Sink) error {
	r := reader{block}
	sizes := true // changes of the size stand at the beginning only (RFC 7541, section 4.2)
	for len(r.b) > 0 {
		first := r.b[0]
		if first&0xe0 == 0x20 {
			size, err := r.integer(5)
			if err != nil {
				return err
			}
			if !sizes || size > MaxTable {
				return ErrResize
			}
			d.table.resize(uint32(size))
			continue
		}
		sizes = false
		if err := d.field(&r, first, to); err != nil {
			return err
		}
	}
	if cap(d.scratch) > maxScratch {
		d.scratch = nil
	}
	return nil
}

// field reads one field (section 6).
func (d *Decoder) field(r *reader, first byte, to Sink) error {
	switch {
	case first&0x80 != 0: // indexed
		index, err := r.integer(7)
		if err != nil {
			return err
		}
		if index <= staticLen {
			f, err := d.at(index)
			if err == nil {
				to.Field(f.name, f.value, 0)
			}
			return err
		}
		e := d.table.find(index - staticLen)
		if e == nil {
			return ErrIndex
		}
		e.note = to.Field(e.name, e.value, e.note)
		return nil
	case first&0xc0 == 0x40: // literal, to be kept
		name, own, err := d.name(r, 6, to)
		if err != nil {
			return err
		}
		b, err := d.text(r)
		if err != nil {
			return err
		}
		if !own {
			name = strings.Clone(name)
		}
		value := string(b)
		d.table.add(name, value)
		to.Field(name, value, 0)
		return nil
	}
	// Literals without indexing, and those that must never be.
	name, _, err := d.name(r, 4, to)
	if err != nil {
		return err
	}
	b, err := d.text(r)
	if err != nil {
		return err
	}
	to.Field(name, to.Keep(b), 0)
	return nil
}

// at returns the field of an index of both tables (section 2.3.3).
func (d *Decoder) at(index uint64) (*field, error) {
	if index == 0 {
		return nil, ErrIndex
	}
	if index <= staticLen {
		return &staticTable[index], nil
	}
	if e := d.table.find(index - staticLen); e != nil {
		return &e.field, nil
	}
	return nil, ErrIndex
}

// name reads the name of a literal. own tells that it may be kept for ever.
func (d *Decoder) name(r *reader, bits uint, to Sink) (name string, own bool, err error) {
	index, err := r.integer(bits)
	if err != nil {
		return "", false, err
	}
	if index != 0 {
		f, err := d.at(index)
		if err != nil {
			return "", false, err
		}
		return f.name, true, nil
	}
	b, err := d.text(r)
	if err != nil {
		return "", false, err
	}
	return to.Keep(b), false, nil
}

// text reads a string (section 5.2). It is valid until the next.
func (d *Decoder) text(r *reader) ([]byte, error) {
	if len(r.b) == 0 {
		return nil, ErrTruncated
	}
	coded := r.b[0]&0x80 != 0
	n, err := r.integer(7)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)) {
		return nil, ErrTruncated
	}
	b := r.b[:n]
	r.b = r.b[n:]
	if !coded {
		return b, nil
	}
	d.scratch, err = d.codes.decode(d.scratch[:0], b)
	return d.scratch, err
}

// reader is what is left of a block.
type reader struct{ b []byte }

// integer reads an integer with a prefix of that many bits (section 5.1), up to 2^28.
func (r *reader) integer(bits uint) (uint64, error) {
	if len(r.b) == 0 {
		return 0, ErrTruncated
	}
	most := uint64(1)<<bits - 1
	n := uint64(r.b[0]) & most
	r.b = r.b[1:]
	if n < most {
		return n, nil
	}
	for shift := uint(0); ; shift += 7 {
		if len(r.b) == 0 {
			return 0, ErrTruncated
		}
		if shift > 21 {
			return 0, ErrInteger
		}
		c := r.b[0]
		r.b = r.b[1:]
		n += uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			return n, nil
		}
	}
}
