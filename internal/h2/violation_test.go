package h2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// rawFrame is one frame, well-formed or not.
func rawFrame(kind, flags byte, id uint32, p ...byte) []byte {
	return append(appendHeader(nil, len(p), kind, flags, id), p...)
}

// rawHeaders is a HEADERS frame of name, value pairs.
func rawHeaders(flags byte, id uint32, pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return rawFrame(typeHeaders, flags|flagEndHeaders, id, b.Bytes()...)
}

var getPairs = []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}

func get(flags byte, id uint32, more ...string) []byte {
	return rawHeaders(flags, id, append(append([]string{}, getPairs...), more...)...)
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func setting(id uint16, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), v)
}

// opened returns a server that has had the client's preface and SETTINGS.
func opened(t testing.TB) *side {
	t.Helper()
	s := newSide(t, Config{})
	if err := s.c.Receive(append([]byte(clientPreface), rawFrame(typeSettings, 0, 0)...)); err != nil {
		t.Fatal(err)
	}
	s.c.Discard(len(s.c.Output()))
	return s
}

func TestConnectionViolations(t *testing.T) {
	big := append(appendHeader(nil, 16385, typeData, 0, 1), make([]byte, 16385)...)
	cat := func(f ...[]byte) []byte { return bytes.Join(f, nil) }
	open := rawFrame(typeHeaders, 0, 1, 0x82)
	for name, c := range map[string]struct {
		in   []byte
		code ErrCode
	}{
		"DATA on stream 0":           {rawFrame(typeData, 0, 0, 1), ErrCodeProtocol},
		"DATA on idle":               {rawFrame(typeData, 0, 1, 1), ErrCodeProtocol},
		"padding over payload":       {cat(get(0, 1), rawFrame(typeData, flagPadded, 1, 5, 0)), ErrCodeProtocol},
		"padded without length":      {cat(get(0, 1), rawFrame(typeData, flagPadded, 1)), ErrCodeFrameSize},
		"frame too large":            {big, ErrCodeFrameSize},
		"HEADERS on stream 0":        {get(0, 0), ErrCodeProtocol},
		"HEADERS on even stream":     {get(0, 2), ErrCodeProtocol},
		"HEADERS below the last":     {cat(get(flagEndStream, 5), get(flagEndStream, 3)), ErrCodeStreamClosed},
		"HEADERS depends on itself":  {rawFrame(typeHeaders, flagEndHeaders|flagPriority, 1, 0, 0, 0, 1, 0, 0x82), ErrCodeProtocol},
		"HPACK garbage":              {rawFrame(typeHeaders, flagEndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrCodeCompression},
		"HPACK cut":                  {rawFrame(typeHeaders, flagEndHeaders, 1, 0x40, 0x05, 'a'), ErrCodeCompression},
		"block interrupted":          {cat(open, rawFrame(typePing, 0, 0, make([]byte, 8)...)), ErrCodeProtocol},
		"block on another stream":    {cat(open, rawFrame(typeContinuation, 0, 3)), ErrCodeProtocol},
		"CONTINUATION alone":         {rawFrame(typeContinuation, flagEndHeaders, 1), ErrCodeProtocol},
		"RST on stream 0":            {rawFrame(typeRSTStream, 0, 0, u32(8)...), ErrCodeProtocol},
		"RST on idle":                {rawFrame(typeRSTStream, 0, 1, u32(8)...), ErrCodeProtocol},
		"RST short":                  {cat(get(0, 1), rawFrame(typeRSTStream, 0, 1, 0)), ErrCodeFrameSize},
		"SETTINGS on a stream":       {rawFrame(typeSettings, 0, 1), ErrCodeProtocol},
		"SETTINGS odd length":        {rawFrame(typeSettings, 0, 0, 1, 2, 3), ErrCodeFrameSize},
		"SETTINGS ack with content":  {rawFrame(typeSettings, flagAck, 0, setting(1, 1)...), ErrCodeFrameSize},
		"ENABLE_PUSH 2":              {rawFrame(typeSettings, 0, 0, setting(settingEnablePush, 2)...), ErrCodeProtocol},
		"window setting too large":   {rawFrame(typeSettings, 0, 0, setting(settingInitialWindow, 1<<31)...), ErrCodeFlowControl},
		"frame size setting small":   {rawFrame(typeSettings, 0, 0, setting(settingMaxFrame, 1)...), ErrCodeProtocol},
		"frame size setting large":   {rawFrame(typeSettings, 0, 0, setting(settingMaxFrame, 1<<24)...), ErrCodeProtocol},
		"settings without end":       {rawFrame(typeSettings, 0, 0, bytes.Repeat(setting(9, 1), maxSettings+1)...), ErrCodeEnhanceYourCalm},
		"PUSH_PROMISE":               {rawFrame(typePushPromise, 0, 1, u32(2)...), ErrCodeProtocol},
		"PING short":                 {rawFrame(typePing, 0, 0, 1), ErrCodeFrameSize},
		"PING on a stream":           {rawFrame(typePing, 0, 1, make([]byte, 8)...), ErrCodeProtocol},
		"GOAWAY on a stream":         {rawFrame(typeGoAway, 0, 1, make([]byte, 8)...), ErrCodeProtocol},
		"GOAWAY short":               {rawFrame(typeGoAway, 0, 0, 1), ErrCodeFrameSize},
		"WINDOW_UPDATE short":        {rawFrame(typeWindowUpdate, 0, 0, 1), ErrCodeFrameSize},
		"WINDOW_UPDATE 0":            {rawFrame(typeWindowUpdate, 0, 0, u32(0)...), ErrCodeProtocol},
		"WINDOW_UPDATE on idle":      {rawFrame(typeWindowUpdate, 0, 1, u32(1)...), ErrCodeProtocol},
		"connection window overflow": {rawFrame(typeWindowUpdate, 0, 0, u32(maxWindow)...), ErrCodeFlowControl},
		"PRIORITY on stream 0":       {rawFrame(typePriority, 0, 0, make([]byte, 5)...), ErrCodeProtocol},
	} {
		for _, step := range []int{len(c.in), 1} { // whole, and byte by byte
			s := opened(t)
			var err error
			for p := c.in; err == nil && len(p) > 0; p = p[min(step, len(p)):] {
				err = s.c.Receive(p[:min(step, len(p))])
			}
			var ce *ConnectionError
			if !errors.As(err, &ce) || ce.Code != c.code {
				t.Errorf("%s: %v, want %v", name, err, c.code)
			}
		}
	}
}

func TestStreamViolations(t *testing.T) {
	cat := func(f ...[]byte) []byte { return bytes.Join(f, nil) }
	head := func(pairs ...string) []byte { return rawHeaders(flagEndStream, 1, pairs...) }
	for name, c := range map[string]struct {
		in   []byte
		code ErrCode
	}{
		"upper case":             {get(flagEndStream, 1, "X-A", "b"), ErrCodeProtocol},
		"connection":             {get(flagEndStream, 1, "connection", "close"), ErrCodeProtocol},
		"transfer-encoding":      {get(flagEndStream, 1, "transfer-encoding", "chunked"), ErrCodeProtocol},
		"te":                     {get(flagEndStream, 1, "te", "gzip"), ErrCodeProtocol},
		"host disagrees":         {get(flagEndStream, 1, "host", "b"), ErrCodeProtocol},
		"value with CR":          {get(flagEndStream, 1, "x", "a\rb"), ErrCodeProtocol},
		"value with NUL":         {get(flagEndStream, 1, "x", "a\x00b"), ErrCodeProtocol},
		"value with space":       {get(flagEndStream, 1, "x", " a"), ErrCodeProtocol},
		"unknown pseudo":         {get(flagEndStream, 1, ":x", "a"), ErrCodeProtocol},
		":status in request":     {get(flagEndStream, 1, ":status", "200"), ErrCodeProtocol},
		"pseudo twice":           {get(flagEndStream, 1, ":path", "/"), ErrCodeProtocol},
		"pseudo late":            {head(":method", "GET", ":scheme", "http", "x", "y", ":path", "/"), ErrCodeProtocol},
		"no method":              {head(":scheme", "http", ":path", "/"), ErrCodeProtocol},
		"no scheme":              {head(":method", "GET", ":path", "/"), ErrCodeProtocol},
		"no path":                {head(":method", "GET", ":scheme", "http"), ErrCodeProtocol},
		"empty path":             {head(":method", "GET", ":scheme", "http", ":path", ""), ErrCodeProtocol},
		"CONNECT with path":      {head(":method", "CONNECT", ":authority", "a:1", ":path", "/"), ErrCodeProtocol},
		":protocol not allowed":  {head(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/"), ErrCodeProtocol},
		"length but no content":  {get(flagEndStream, 1, "content-length", "3"), ErrCodeProtocol},
		"length is no number":    {get(0, 1, "content-length", "+3"), ErrCodeProtocol},
		"two lengths":            {get(0, 1, "content-length", "3", "content-length", "4"), ErrCodeProtocol},
		"content too long":       {cat(get(0, 1, "content-length", "1"), rawFrame(typeData, 0, 1, 1, 2)), ErrCodeProtocol},
		"content too short":      {cat(get(0, 1, "content-length", "3"), rawFrame(typeData, flagEndStream, 1, 1)), ErrCodeProtocol},
		"trailers do not end":    {cat(get(0, 1), rawHeaders(0, 1, "a", "b")), ErrCodeProtocol},
		"pseudo in trailers":     {cat(get(0, 1), rawHeaders(flagEndStream, 1, ":path", "/")), ErrCodeProtocol},
		"DATA after the end":     {cat(get(flagEndStream, 1), rawFrame(typeData, 0, 1, 1)), ErrCodeStreamClosed},
		"HEADERS after the end":  {cat(get(flagEndStream, 1), rawHeaders(flagEndStream, 1, "a", "b")), ErrCodeStreamClosed},
		"stream window overflow": {cat(get(0, 1), rawFrame(typeWindowUpdate, 0, 1, u32(maxWindow)...)), ErrCodeFlowControl},
		"WINDOW_UPDATE 0":        {cat(get(0, 1), rawFrame(typeWindowUpdate, 0, 1, u32(0)...)), ErrCodeProtocol},
		"PRIORITY on itself":     {cat(get(0, 1), rawFrame(typePriority, 0, 1, 0, 0, 0, 1, 0)), ErrCodeProtocol},
		"PRIORITY short":         {cat(get(0, 1), rawFrame(typePriority, 0, 1, 0)), ErrCodeFrameSize},
	} {
		s := opened(t)
		if err := s.c.Receive(c.in); err != nil {
			t.Errorf("%s: %v, want a stream error", name, err)
			continue
		}
		want := rawFrame(typeRSTStream, 0, 1, u32(uint32(c.code))...)
		if !bytes.Contains(s.c.Output(), want) {
			t.Errorf("%s: output %x, want RST_STREAM %v", name, s.c.Output(), c.code)
		}
		// The connection goes on.
		if err := s.c.Receive(get(flagEndStream, 3)); err != nil || !s.ended[3] {
			t.Errorf("%s: the next request failed: %v", name, err)
		}
	}
}

func TestFloodsAreCutOff(t *testing.T) {
	id := uint32(1)
	next := func() uint32 { id += 2; return id }
	for name, c := range map[string]struct {
		bound int
		next  func() []byte
	}{
		"rapid reset":    {200, func() []byte { n := next(); return append(get(0, n), rawFrame(typeRSTStream, 0, n, u32(8)...)...) }},
		"made you reset": {200, func() []byte { n := next(); return append(get(0, n), rawFrame(typeWindowUpdate, 0, n, u32(0)...)...) }},
		"malformed":      {200, func() []byte { return get(flagEndStream, next(), "X", "y") }},
		"SETTINGS":       {200, func() []byte { return rawFrame(typeSettings, 0, 0) }},
		"SETTINGS ack":   {1000, func() []byte { return rawFrame(typeSettings, flagAck, 0) }},
		"PING":           {1000, func() []byte { return rawFrame(typePing, 0, 0, make([]byte, 8)...) }},
		"PING ack":       {1000, func() []byte { return rawFrame(typePing, flagAck, 0, make([]byte, 8)...) }},
		"PRIORITY":       {2000, func() []byte { return rawFrame(typePriority, 0, 1, make([]byte, 5)...) }},
		"WINDOW_UPDATE":  {2000, func() []byte { return rawFrame(typeWindowUpdate, 0, 0, u32(1)...) }},
		"unknown":        {1000, func() []byte { return rawFrame(0x77, 0, 0) }},
		"empty DATA":     {400, func() []byte { return rawFrame(typeData, 0, 1) }},
		"GOAWAY":         {200, func() []byte { return rawFrame(typeGoAway, 0, 0, make([]byte, 8)...) }},
	} {
		id = 1
		s := opened(t)
		_ = s.c.Receive(get(0, 1))
		var err error
		n := 0
		for ; err == nil && n <= c.bound+20; n++ {
			err = s.c.Receive(c.next())
			s.heads = nil
			s.c.Discard(len(s.c.Output()) * btoi(err == nil))
		}
		var ce *ConnectionError
		if !errors.As(err, &ce) || ce.Code != ErrCodeEnhanceYourCalm || n < c.bound-20 {
			t.Errorf("%s: after %d frames %v; want ENHANCE_YOUR_CALM at %d", name, n, err, c.bound)
		}
		if !strings.Contains(string(s.c.Output()), ce.Reason) {
			t.Errorf("%s: no GOAWAY says why", name)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestContinuationFlood(t *testing.T) {
	s := opened(t)
	err := s.c.Receive(rawFrame(typeHeaders, 0, 1, 0x82))
	n := 0
	for ; err == nil && n < 100; n++ {
		err = s.c.Receive(rawFrame(typeContinuation, 0, 1))
	}
	var ce *ConnectionError
	if !errors.As(err, &ce) || ce.Code != ErrCodeEnhanceYourCalm || n != maxContinuations+1 {
		t.Fatalf("after %d: %v", n, err)
	}
}
