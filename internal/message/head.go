package message

import "unsafe"

// Field is one header or trailer field. Names are in lower case (RFC 9113, section 8.2).
type Field struct{ Name, Value string }

// Head is the control data and header section of a request or response, free of anything that belongs to
// one connection: what framed it (Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade and
// what Connection nominates) never gets in, Host is Authority, Content-Length is Length.
type Head struct {
	Method    string // request only; "CONNECT" also for a protocol switch
	Scheme    string // request only: "http", "https", or "" where the codec could not know
	Authority string // request only: host[:port]
	Path      string // request only: path and query, "*" for OPTIONS *, "" for plain CONNECT
	Protocol  string // request: the protocol to switch to ("websocket"), as :protocol of RFC 8441 or Upgrade of HTTP/1.1
	Status    int    // response only
	Length    int64  // declared length of the content; Unknown if none is declared
	Fields    []Field

	arena []byte // owns the bytes of strings made by Keep
}

// Unknown is the Length of content that ends when it ends.
const Unknown int64 = -1

// Reset empties the head and keeps its memory. All strings borrowed from it end here.
func (h *Head) Reset() {
	clear(h.Fields)
	// Field by field: a literal would be made beside the head and copied, for each message.
	h.Method, h.Scheme, h.Authority, h.Path, h.Protocol = "", "", "", "", ""
	h.Status, h.Length = 0, Unknown
	h.Fields, h.arena = h.Fields[:0], h.arena[:0]
}

// Borrowed reports whether strings of the head may be borrowed, and so change after Reset. Whoever keeps one
// where that would show clones it.
func (h *Head) Borrowed() bool { return len(h.arena) > 0 }

// Reserve makes room for n more bytes in the arena, so that following calls of Keep do not allocate.
// A codec that knows the size of the head on the wire calls it once.
func (h *Head) Reserve(n int) {
	if cap(h.arena)-len(h.arena) < n {
		// Strings handed out before keep the old array alive and stay valid.
		h.arena = make([]byte, 0, max(n, 512))
	}
}

// Keep copies b into the head's own memory and returns it as a string that lives until Reset.
func (h *Head) Keep(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	h.Reserve(len(b))
	at := len(h.arena)
	h.arena = append(h.arena, b...)
	return unsafe.String(&h.arena[at], len(b))
}

// KeepLower is Keep with A-Z folded to lower case.
func (h *Head) KeepLower(b []byte) string {
	s := h.Keep(b)
	kept := h.arena[len(h.arena)-len(s):]
	for i, c := range kept {
		if c-'A' < 26 {
			kept[i] = c + 'a' - 'A'
		}
	}
	return s
}

// Get returns the value of the first field of that name (in lower case), or "".
func (h *Head) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the value of the first field of that name (in lower case) and whether there is one.
func (h *Head) Lookup(name string) (string, bool) {
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			return h.Fields[i].Value, true
		}
	}
	return "", false
}

// Add appends a field. The name is in lower case; neither string is copied.
func (h *Head) Add(name, value string) {
	h.Fields = append(h.Fields, Field{name, value})
}

// Set replaces all fields of that name by one.
func (h *Head) Set(name, value string) {
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			h.Fields[i].Value = value
			h.delFrom(i+1, name)
			return
		}
	}
	h.Add(name, value)
}

// Del removes all fields of that name.
func (h *Head) Del(name string) { h.delFrom(0, name) }

func (h *Head) delFrom(from int, name string) {
	kept := h.Fields[:from]
	for _, f := range h.Fields[from:] {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	clear(h.Fields[len(kept):])
	h.Fields = kept
}

// PathOnly returns Path without its query.
func (h *Head) PathOnly() string {
	for i := range len(h.Path) {
		if h.Path[i] == '?' {
			return h.Path[:i]
		}
	}
	return h.Path
}

// Query returns what follows the first "?" of Path.
func (h *Head) Query() string {
	for i := range len(h.Path) {
		if h.Path[i] == '?' {
			return h.Path[i+1:]
		}
	}
	return ""
}

// CopyFrom makes h a copy of src that owns all its bytes.
func (h *Head) CopyFrom(src *Head) {
	h.Reset()
	n := len(src.Method) + len(src.Scheme) + len(src.Authority) + len(src.Path) + len(src.Protocol)
	for _, f := range src.Fields {
		n += len(f.Name) + len(f.Value)
	}
	h.Reserve(n)
	own := func(s string) string {
		if s == "" {
			return ""
		}
		return h.Keep(unsafe.Slice(unsafe.StringData(s), len(s)))
	}
	h.Method, h.Scheme, h.Authority, h.Path, h.Protocol = own(src.Method), own(src.Scheme), own(src.Authority), own(src.Path), own(src.Protocol)
	h.Status, h.Length = src.Status, src.Length
	for _, f := range src.Fields {
		h.Fields = append(h.Fields, Field{own(f.Name), own(f.Value)})
	}
}
