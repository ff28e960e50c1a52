package h1

import (
	"unsafe"

	"github.com/weft-mesh/weft/internal/message"
)

const (
	maxMethod    = 64 // bytes of a method
	maxOptions   = 8  // Connection lines in a head
	maxNominated = 16 // names Connection nominates beyond close, keep-alive, upgrade and te
	nameBuf      = 64 // longer field names are legal but never common
)

// parser holds one head while it is read. Until finish, its strings and those of h are views of b.
type parser struct {
	b        []byte
	i        int
	h        *message.Head
	response bool
	minor    uint8

	hosts, lengths, encodings, options, nominations int

	host, length, encoding, upgrade string
	option                          [maxOptions]string
	nominated                       [maxNominated]string

	close, keepAlive, nominatesUpgrade, trailersOK, expect100 bool

	name [nameBuf]byte
}

// fail makes the error for what was read: a bad response is 502 to whoever asked for it.
func (p *parser) fail(status int, reason string) error {
	if p.response {
		status = 502
	}
	return &Error{Status: status, Reason: reason}
}

// fields reads field lines up to and with the empty line that ends them.
func (p *parser) fields(limit int) error {
	for count := 0; ; count++ {
		if p.i >= len(p.b) {
			return errMore
		}
		if p.b[p.i] == '\r' {
			return p.lineEnd()
		}
		if count == limit {
			return p.fail(431, "too many header fields")
		}
		name, k, err := p.fieldName()
		if err != nil {
			return err
		}
		value, err := p.fieldValue()
		if err != nil {
			return err
		}
		if k == kindPlain {
			p.h.Fields = append(p.h.Fields, message.Field{Name: name, Value: value})
		} else if err := p.special(k, name, value); err != nil {
			return err
		}
	}
}

// lineEnd consumes CR LF.
func (p *parser) lineEnd() error {
	switch {
	case p.i >= len(p.b):
		return errMore
	case p.b[p.i] == '\n':
		return p.fail(400, "a line ends with LF alone")
	case p.b[p.i] != '\r':
		return p.fail(400, "unexpected byte "+quoteByte(p.b[p.i])+" where a line may go on or end")
	case p.i+1 >= len(p.b):
		return errMore
	case p.b[p.i+1] != '\n':
		return p.fail(400, "CR without LF")
	}
	p.i += 2
	return nil
}

// fieldName reads a name and its colon. The name of an uncommon field is a view, not yet in lower case.
func (p *parser) fieldName() (string, kind, error) {
	b, n := p.b[p.i:], 0
	for n < len(b) && n < nameBuf {
		c := lowerToken[b[n]]
		if c == 0 {
			break
		}
		p.name[n] = c
		n++
	}
	name, k := "", kindPlain
	if n < nameBuf {
		name, k = knownName(p.name[:n])
	}
	for n < len(b) && lowerToken[b[n]] != 0 {
		n++
	}
	if n == len(b) {
		return "", 0, errMore
	}
	if b[n] != ':' {
		return "", 0, p.badName(b[:n], b[n])
	}
	if n == 0 {
		return "", 0, p.fail(400, "empty header field name")
	}
	if name == "" {
		name = view(b[:n])
	}
	p.i += n + 1
	return name, k, nil
}

func (p *parser) badName(name []byte, c byte) error {
	switch {
	case len(name) == 0 && (c == ' ' || c == '\t'):
		return p.fail(400, "folded header line")
	case c == ' ' || c == '\t':
		return p.fail(400, "whitespace after header field name "+quote(view(name)))
	case c == '\n':
		return p.fail(400, "a line ends with LF alone")
	case c == '\r':
		return p.fail(400, "header line without a colon")
	}
	return p.fail(400, "bad byte "+quoteByte(c)+" in a header field name")
}

// fieldValue reads a value and its line end, and returns the value without the whitespace around it.
func (p *parser) fieldValue() (string, error) {
	b, from := p.b, p.i
	for from < len(b) && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	to := valueEnd(b, from)
	p.i = to
	if err := p.lineEnd(); err != nil {
		return "", err
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return view(b[from:to]), nil
}

// special takes a field that says something about the connection or the framing.
func (p *parser) special(k kind, name, value string) error {
	switch k {
	case kindHost:
		p.hosts++
		p.host = value
	case kindLength:
		p.lengths++
		p.length = value
	case kindEncoding:
		p.encodings++
		p.encoding = value
	case kindConnection:
		if p.options == maxOptions {
			return p.fail(400, "too many Connection fields")
		}
		p.option[p.options] = value
		p.options++
	case kindUpgrade:
		if p.upgrade != "" {
			value = "," // several lines are a list: see protocol
		}
		p.upgrade = value
	case kindTe:
		for value != "" && !p.response {
			var item string
			item, value = nextItem(value)
			p.trailersOK = p.trailersOK || foldEqual(item, "trailers")
		}
	case kindExpect:
		if !p.response && p.minor == 0 {
			return nil
		}
		p.expect100 = p.expect100 || foldEqual(value, "100-continue")
		p.h.Fields = append(p.h.Fields, message.Field{Name: name, Value: value})
	}
	return nil
}

// finish makes the head own its strings and removes the fields that Connection nominated.
func (p *parser) finish() {
	h := p.h
	h.Reserve(p.i)
	h.Method = p.own(h.Method)
	h.Scheme = p.own(h.Scheme)
	h.Authority = p.own(h.Authority)
	h.Path = p.own(h.Path)
	h.Protocol = p.ownLower(h.Protocol)
	for i := range h.Fields {
		f := &h.Fields[i]
		f.Name = p.ownLower(f.Name)
		f.Value = p.own(f.Value)
	}
	if p.nominations > 0 {
		p.removeNominated()
	}
	if p.trailersOK {
		h.Add("te", "trailers")
	}
}

func (p *parser) removeNominated() {
	fields := p.h.Fields
	kept := fields[:0]
	for _, f := range fields {
		if !p.isNominated(f.Name) || endToEnd(f.Name) {
			kept = append(kept, f)
		}
	}
	clear(fields[len(kept):])
	p.h.Fields = kept
}

func (p *parser) isNominated(name string) bool {
	for _, n := range p.nominated[:p.nominations] {
		if foldEqual(n, name) {
			return true
		}
	}
	return false
}

// borrowed reports whether s is a view of the input.
func (p *parser) borrowed(s string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(s))) - uintptr(unsafe.Pointer(unsafe.SliceData(p.b)))
	return s != "" && at < uintptr(len(p.b))
}

func (p *parser) own(s string) string {
	if !p.borrowed(s) {
		return s
	}
	return p.h.Keep(bytesOf(s))
}

func (p *parser) ownLower(s string) string {
	if !p.borrowed(s) {
		return s
	}
	return p.h.KeepLower(bytesOf(s))
}
