package hpack

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// Encoder writes the header blocks of one direction of a connection.
type Encoder struct {
	table table
	slots [slots][2]uint32 // numbers of entries by the hash of name and value, two for each
	least uint32           // smallest bound since the last block
	moved bool             // the bound has changed since: the peer must be told (RFC 7541, section 4.2)
}

const slots = 128

// NewEncoder returns an encoder with the table that every peer allows before it says otherwise.
func NewEncoder() *Encoder { return &Encoder{table: table{max: MaxTable}} }

// SetMaxTable sets the bound of the table, as the peer's settings have it, up to MaxTable.
func (e *Encoder) SetMaxTable(size uint32) {
	size = min(size, MaxTable)
	if !e.moved {
		e.least = size
	}
	e.least = min(e.least, size)
	e.moved = true
	e.table.resize(size)
}

// Begin begins a header block: it must be called before its first field.
func (e *Encoder) Begin(dst []byte) []byte {
	if !e.moved {
		return dst
	}
	e.moved = false
	if e.least < e.table.max {
		// The bound was lower meanwhile. Some decoders take a second change only while their table is empty,
		// so it is emptied rather than cut.
		e.table.shrink(0)
		dst = appendInt(dst, 0x20, 5, 0)
	}
	return appendInt(dst, 0x20, 5, uint64(e.table.max))
}

// Find writes a field that a table has and reports whether one does. It is all there is to do for what repeats.
func (e *Encoder) Find(dst []byte, name, value string) ([]byte, bool) {
	if i := staticField(name, value); i != 0 {
		return append(dst, 0x80|byte(i)), true
	}
	for _, number := range e.slots[hash(name, value)%slots] {
		if number <= e.table.gone {
			continue
		}
		if f := e.table.at(number); f.name == name && f.value == value {
			return appendInt(dst, 0x80, 7, staticLen+uint64(e.table.last-number)+1), true
		}
	}
	return dst, false
}

// Append writes a field that Find does not. One that is not to be kept hardly repeats, or is a secret: it is
// written as a literal that no hop may put into a table (section 7.1.3). The strings may be borrowed: what the
// table keeps is copied.
func (e *Encoder) Append(dst []byte, name, value string, keep bool) []byte {
	index := staticName(name)
	switch {
	case !keep:
		return appendLiteral(dst, 0x10, 4, index, name, value)
	case uint32(len(name)+len(value))+overhead > e.table.max:
		return appendLiteral(dst, 0, 4, index, name, value)
	}
	dst = appendLiteral(dst, 0x40, 6, index, name, value)
	if index != 0 {
		name = staticTable[index].name
	} else {
		name = strings.Clone(name)
	}
	value = strings.Clone(value)
	e.table.add(name, value)
	set := &e.slots[hash(name, value)%slots]
	set[1], set[0] = set[0], e.table.last
	return dst
}

// appendLiteral writes a field with its value spelled out, and its name unless the table has it.
func appendLiteral(dst []byte, pattern byte, bits uint, index uint64, name, value string) []byte {
	dst = appendInt(dst, pattern, bits, index)
	if index == 0 {
		dst = append(appendInt(dst, 0, 7, uint64(len(name))), name...)
	}
	return append(appendInt(dst, 0, 7, uint64(len(value))), value...)
}

// appendInt writes an integer with a prefix of that many bits (section 5.1).
func appendInt(dst []byte, pattern byte, bits uint, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(dst, pattern|byte(n))
	}
	dst = append(dst, pattern|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// hash mixes the lengths and the ends of both strings: fields of one connection that differ, differ there,
// and one that is not found for a collision is only sent again.
func hash(name, value string) uint32 {
	const k = 0x9e3779b97f4a7c15
	h := (uint64(len(name))<<32 | uint64(len(value))) * k
	h = (h ^ tail(name)) * k
	h = (h ^ h>>29 ^ tail(value)) * k
	h = (h ^ h>>29 ^ front(value)) * k
	return uint32(h >> 40)
}

// tail returns the last eight bytes of s, or as many as there are.
func tail(s string) uint64 {
	if len(s) < 8 {
		return short(s)
	}
	return binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s[len(s)-8:]), 8))
}

// front returns the first eight bytes of s, or as many as there are.
func front(s string) uint64 {
	if len(s) < 8 {
		return short(s)
	}
	return binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s), 8))
}

func short(s string) (n uint64) {
	for i := range len(s) {
		n = n<<8 | uint64(s[i])
	}
	return n
}
