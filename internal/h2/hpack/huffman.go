package hpack

import "sync"

// codeLengths are the lengths in bits of the codes of all bytes (RFC 7541, appendix B). The code is canonical:
// its codes follow from their lengths, those of one length in the order of their bytes.
var codeLengths = [256]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
}

const (
	longestCode = 30 // bits, also of the end-of-string code
	quickBits   = 10 // codes up to this length are found by one look-up
)

// codes decode. They are built once and then only read.
type codes struct {
	quick [1 << quickBits]struct{ symbol, bits uint8 } // by the next bits; bits is 0 where the code is longer
	first [longestCode + 2]uint32                      // first code of each length
	count [longestCode + 2]uint32                      // codes of each length
	start [longestCode + 2]uint32                      // where those of each length begin in order
	order [256]uint8                                   // bytes by the length of their code
}

// huffmanCodes returns the codes, which all decoders share.
var huffmanCodes = sync.OnceValue(func() *codes {
	c := new(codes)
	at := 0
	code := uint32(0)
	for bits := 1; bits <= longestCode; bits++ {
		c.first[bits], c.start[bits] = code, uint32(at)
		for symbol, n := range codeLengths {
			if int(n) != bits {
				continue
			}
			if bits <= quickBits {
				low := code << (quickBits - bits)
				for i := range uint32(1) << (quickBits - bits) {
					c.quick[low+i].symbol, c.quick[low+i].bits = uint8(symbol), uint8(bits)
				}
			}
			c.order[at] = uint8(symbol)
			at++
			code++
		}
		c.count[bits] = code - c.first[bits]
		code <<= 1
	}
	return c
})

// decode appends what b codes to dst.
func (c *codes) decode(dst, b []byte) ([]byte, error) {
	var window uint64 // the next bits, from the top
	have := uint(0)
	for {
		for have <= 56 && len(b) > 0 {
			window |= uint64(b[0]) << (56 - have)
			b = b[1:]
			have += 8
		}
		if have == 0 {
			return dst, nil
		}
		if q := c.quick[window>>(64-quickBits)]; q.bits != 0 && uint(q.bits) <= have {
			dst = append(dst, q.symbol)
			window <<= q.bits
			have -= uint(q.bits)
			continue
		}
		symbol, bits := c.long(window)
		if bits == 0 || bits > have {
			// What is left must be less than a byte of ones: the front of the end-of-string code (section 5.2).
			if len(b) == 0 && have < 8 && window>>(64-have) == 1<<have-1 {
				return dst, nil
			}
			return dst, ErrHuffman
		}
		dst = append(dst, symbol)
		window <<= bits
		have -= bits
	}
}

// long finds a code of more than quickBits bits.
func (c *codes) long(window uint64) (symbol uint8, bits uint) {
	for bits = quickBits + 1; bits <= longestCode; bits++ {
		code := uint32(window >> (64 - bits))
		if code-c.first[bits] < c.count[bits] {
			return c.order[c.start[bits]+code-c.first[bits]], bits
		}
	}
	return 0, 0
}
