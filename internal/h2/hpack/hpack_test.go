package hpack

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"
)

// fields is a sink that keeps all.
type fields []field

func (s *fields) Keep(b []byte) string { return string(b) }

func (s *fields) Field(name, value string, note uint8) uint8 {
	*s = append(*s, field{name, value})
	return note + 1
}

// nothing is a sink that keeps nothing.
type nothing struct{ buf [64]byte }

func (s *nothing) Keep(b []byte) string              { copy(s.buf[:], b); return "" }
func (s *nothing) Field(string, string, uint8) uint8 { return 0 }

func names() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{":method", ":path", ":status", ":scheme", "accept", "www-authenticate", "x-request-id", "weft-port", ""}),
		rapid.StringMatching(`[a-z][a-z0-9-]{0,12}`),
	)
}

func values() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "GET", "POST", "/", "http", "https", "200", "404", "trailers", "application/grpc"}),
		rapid.StringN(0, 40, 80),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 60), func(b []byte) string { return string(b) }),
		rapid.Just(strings.Repeat("x", 5000)),
	)
}

// TestEncoderAgainstXNet has golang.org/x/net read what the encoder writes, over changes of the table's size.
func TestEncoderAgainstXNet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := NewEncoder()
		var got []field
		d := xhpack.NewDecoder(MaxTable, func(f xhpack.HeaderField) { got = append(got, field{f.Name, f.Value}) })
		pool := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) field {
			return field{names().Draw(t, "name"), values().Draw(t, "value")}
		}), 1, 40).Draw(t, "fields")
		for range rapid.IntRange(1, 20).Draw(t, "blocks") {
			if rapid.Bool().Draw(t, "resize") {
				for range rapid.IntRange(1, 3).Draw(t, "times") {
					e.SetMaxTable(uint32(rapid.IntRange(0, 6000).Draw(t, "size")))
				}
			}
			var want []field
			block := e.Begin(nil)
			for range rapid.IntRange(0, 10).Draw(t, "n") {
				f := rapid.SampledFrom(pool).Draw(t, "field")
				want = append(want, f)
				// Borrowed strings: their bytes change as soon as Append has returned.
				name, value := []byte(f.name), []byte(f.value)
				keep := rapid.Bool().Draw(t, "keep")
				found := false
				if keep {
					block, found = e.Find(block, string(name), string(value))
				}
				if !found {
					block = e.Append(block, string(name), string(value), keep)
				}
			}
			got = nil
			if _, err := d.Write(block); err != nil {
				t.Fatalf("x/net refuses the block: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("x/net reads %q, want %q", got, want)
			}
		}
	})
}

// TestDecoderAgainstXNet reads what golang.org/x/net writes, Huffman codes and all.
func TestDecoderAgainstXNet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var block bytes.Buffer
		e := xhpack.NewEncoder(&block)
		d := NewDecoder()
		pool := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) field {
			return field{names().Draw(t, "name"), values().Draw(t, "value")}
		}), 1, 40).Draw(t, "fields")
		for range rapid.IntRange(1, 20).Draw(t, "blocks") {
			if rapid.Bool().Draw(t, "resize") {
				e.SetMaxDynamicTableSize(uint32(rapid.IntRange(0, MaxTable).Draw(t, "size")))
			}
			block.Reset()
			var want fields
			for range rapid.IntRange(1, 10).Draw(t, "n") {
				f := rapid.SampledFrom(pool).Draw(t, "field")
				want = append(want, f)
				_ = e.WriteField(xhpack.HeaderField{Name: f.name, Value: f.value, Sensitive: rapid.Bool().Draw(t, "sensitive")})
			}
			var got fields
			if err := d.Decode(block.Bytes(), &got); err != nil {
				t.Fatalf("%v in %x", err, block.Bytes())
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("read %q, want %q", got, want)
			}
		}
	})
}

// TestStaticTable compares with golang.org/x/net's, entry by entry.
func TestStaticTable(t *testing.T) {
	var got []field
	d := xhpack.NewDecoder(0, func(f xhpack.HeaderField) { got = append(got, field{f.Name, f.Value}) })
	for i := 1; i <= int(staticLen); i++ {
		_, _ = d.Write([]byte{0x80 | byte(i)})
		if got[i-1] != staticTable[i] {
			t.Errorf("entry %d is %v, want %v", i, staticTable[i], got[i-1])
		}
		if first := staticName(staticTable[i].name); staticTable[first].name != staticTable[i].name || first > uint64(i) {
			t.Errorf("%s is found at %d", staticTable[i].name, first)
		}
	}
}

func TestHuffmanAgainstXNet(t *testing.T) {
	c := huffmanCodes()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		got, err := c.decode(nil, xhpack.AppendHuffmanString(nil, string(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q, %v", got, err)
		}
	})
	for i := range 256 {
		got, err := c.decode(nil, xhpack.AppendHuffmanString(nil, string([]byte{byte(i)})))
		if err != nil || len(got) != 1 || got[0] != byte(i) {
			t.Errorf("byte %d: %v, %v", i, got, err)
		}
	}
}

// TestNotes has a sink see again what it noted on an entry of the table, and nothing on what is in none.
func TestNotes(t *testing.T) {
	d := NewDecoder()
	var notes []uint8
	sink := noter(func(note uint8) uint8 { notes = append(notes, note); return note + 7 })
	block := []byte{0x40, 1, 'a', 1, 'b', 0xbe, 0xbe, 0x82, 0x00, 1, 'c', 1, 'd'}
	if err := d.Decode(block, sink); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(notes) != "[0 0 7 0 0]" {
		t.Errorf("notes %v", notes)
	}
}

type noter func(uint8) uint8

func (noter) Keep(b []byte) string                  { return string(b) }
func (f noter) Field(_, _ string, note uint8) uint8 { return f(note) }

// TestBadBlocks are those that RFC 7541 has a decoder refuse.
func TestBadBlocks(t *testing.T) {
	for _, c := range []struct {
		name  string
		block []byte
		want  error
	}{
		{"index 0", []byte{0x80}, ErrIndex},
		{"index beyond both tables", []byte{0xbe}, ErrIndex},
		{"name index beyond both tables", []byte{0x7e, 0x01, 'a'}, ErrIndex},
		{"an index that goes on for ever", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}, ErrInteger},
		{"an index that ends within", []byte{0xff, 0x80}, ErrTruncated},
		{"a value that is missing", []byte{0x41}, ErrTruncated},
		{"a value that is cut", []byte{0x41, 0x05, 'a'}, ErrTruncated},
		{"a size above the settings", []byte{0x3f, 0xe2, 0x1f}, ErrResize},
		{"a size behind a field", []byte{0x82, 0x20}, ErrResize},
		{"padding longer than 7 bits", []byte{0x41, 0x82, 0x1f, 0xff}, ErrHuffman},
		{"padding of zeros", []byte{0x41, 0x81, 0x18}, ErrHuffman},
		{"the end-of-string code", []byte{0x41, 0x84, 0xff, 0xff, 0xff, 0xff}, ErrHuffman},
	} {
		var got fields
		if err := NewDecoder().Decode(c.block, &got); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff}) // RFC 7541, C.4.1
	f.Add([]byte{0x40, 0x0a, 'c', 'u', 's', 't', 'o', 'm', '-', 'k', 'e', 'y', 0x0d, 'c', 'u', 's', 't', 'o', 'm', '-', 'h', 'e', 'a', 'd', 'e', 'r'})
	f.Add([]byte{0x20, 0x3f, 0xe1, 0x1f, 0x82})
	f.Fuzz(func(t *testing.T, block []byte) {
		var want []field
		x := xhpack.NewDecoder(MaxTable, func(h xhpack.HeaderField) { want = append(want, field{h.Name, h.Value}) })
		_, err := x.Write(block)
		if err == nil {
			err = x.Close()
		}
		var got fields
		d := NewDecoder()
		own := d.Decode(block, &got)
		if d.table.size > MaxTable {
			t.Fatalf("the table has %d bytes", d.table.size)
		}
		// Ours bounds integers more tightly; what both take means the same.
		if own == nil && err == nil && fmt.Sprint(got) != fmt.Sprint(fields(want)) {
			t.Fatalf("%q, want %q", got, want)
		}
		if own == nil && err != nil {
			t.Fatalf("x/net refuses what we take: %v", err)
		}
	})
}

func requestFields() []field {
	return []field{
		{":method", "GET"},
		{":scheme", "http"},
		{":authority", "web.default.svc:8080"},
		{":path", "/api/v1/things"},
		{"user-agent", "wrk/4.1.0"},
		{"accept", "*/*"},
		{"weft-port", "80 h1"},
		{"weft-source", "default/load"},
	}
}

func BenchmarkEncode(b *testing.B) {
	e, block := NewEncoder(), make([]byte, 0, 512)
	id := strings.Repeat("0123456789abcdef", 2)
	in := requestFields()
	b.ReportAllocs()
	for b.Loop() {
		block = e.Begin(block[:0])
		for _, f := range in {
			var found bool
			if block, found = e.Find(block, f.name, f.value); !found {
				block = e.Append(block, f.name, f.value, true)
			}
		}
		block = e.Append(block, "x-request-id", id, false)
	}
}

func BenchmarkDecode(b *testing.B) {
	e, d := NewEncoder(), NewDecoder()
	var to nothing
	encode := func() []byte {
		block := e.Begin(nil)
		for _, f := range requestFields() {
			var found bool
			if block, found = e.Find(block, f.name, f.value); !found {
				block = e.Append(block, f.name, f.value, true)
			}
		}
		return e.Append(block, "x-request-id", strings.Repeat("0123456789abcdef", 2), false)
	}
	if err := d.Decode(encode(), &to); err != nil {
		b.Fatal(err)
	}
	block := encode()
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(block, &to); err != nil {
			b.Fatal(err)
		}
	}
}
