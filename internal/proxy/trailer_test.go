package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/model"
)

// late is content that sets trailers when it ends.
type late struct {
	io.Reader
	end func()
}

func (l *late) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		l.end()
	}
	return n, err
}

// trailing is a program that tells what it was sent, in fields of the head and as trailers, announced and not.
func trailing(w http.ResponseWriter, r *http.Request) {
	announced := slices.Sorted(maps.Keys(r.Trailer))
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Trailer", "X-Sum-Back")
	w.Header().Set("X-Announced", strings.Join(announced, ","))
	w.Header().Set("X-Te", r.Header.Get("Te"))
	w.Header().Set("X-Trailers", fmt.Sprint(r.Trailer))
	_, _ = w.Write(body)
	w.Header().Set("X-Sum-Back", r.Trailer.Get("X-Sum"))
	w.Header().Set(http.TrailerPrefix+"X-Unannounced", "too")
}

// TestTrailers: trailers and what announces them pass both ways, from each version of HTTP to each (RFC 9110,
// section 6.5).
func TestTrailers(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, http.HandlerFunc(trailing), protocol, func(t *testing.T, at netip.AddrPort) {
			for version, c := range map[string]*http.Client{"h1": h1Client(t), "h2": h2Client(t)} {
				for _, size := range []int{0, 5, 300_000} {
					content := strings.Repeat("x", size)
					req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+at.String()+"/", nil)
					if err != nil {
						t.Fatal(err)
					}
					req.Trailer = http.Header{"X-Sum": nil}
					req.Header.Set("Te", "trailers")
					req.ContentLength = -1
					req.Body = io.NopCloser(&late{strings.NewReader(content), func() { req.Trailer.Set("X-Sum", "42") }})
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					_, expected := resp.Trailer["X-Sum-Back"]
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || string(body) != content {
						t.Fatalf("%s: %d bytes, %v", version, len(body), err)
					}
					h := resp.Header
					if h.Get("X-Announced") != "X-Sum" || h.Get("X-Te") != "trailers" || h.Get("X-Trailers") != "map[X-Sum:[42]]" {
						t.Errorf("%s, %d bytes: the program sees %q announced, TE %q, trailers %q", version, size, h.Get("X-Announced"), h.Get("X-Te"), h.Get("X-Trailers"))
					}
					if !expected || resp.Trailer.Get("X-Sum-Back") != "42" || resp.Trailer.Get("X-Unannounced") != "too" {
						t.Errorf("%s, %d bytes: announced %t, trailers %v", version, size, expected, resp.Trailer)
					}
				}
			}
		})
	}
}

// forbidden are fields that must not come behind the content: they prove, control or describe it (RFC 9110, section
// 6.5.1), or belong to a connection.
func forbidden() []string {
	return []string{
		"trailer", "te", "connection", "authorization", "cookie", "set-cookie", "expect", "cache-control",
		"content-type", "content-encoding", "content-range", "location",
	}
}

// framing are those of the fields forbidden that only an attempt to confuse hops puts there.
func framing() []string { return []string{"content-length", "host", "transfer-encoding"} }

// TestForbiddenTrailers: such fields of a client or program of HTTP/1.1 are not passed on; the others are.
func TestForbiddenTrailers(t *testing.T) {
	var section strings.Builder
	for _, name := range forbidden() {
		fmt.Fprintf(&section, "%s: 3\r\n", name)
	}
	section.WriteString("x-kept: yes\r\n\r\n")
	content := "3\r\nabc\r\n0\r\n" + section.String()
	t.Run("request", func(t *testing.T) {
		for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
			shapes(t, http.HandlerFunc(trailing), protocol, func(t *testing.T, at netip.AddrPort) {
				c := dialRaw(t, at)
				c.send("POST / HTTP/1.1\r\nHost: a\r\nTrailer: x-kept\r\nTransfer-Encoding: chunked\r\n\r\n" + content)
				resp, got := c.answer("POST")
				if resp.StatusCode != 200 || got != "abc" || resp.Header.Get("X-Trailers") != "map[X-Kept:[yes]]" {
					t.Errorf("%s %q, the program sees the trailers %q", resp.Status, got, resp.Header.Get("X-Trailers"))
				}
			})
		}
	})
	program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTrailer: x-kept\r\nTransfer-Encoding: chunked\r\n\r\n"+content)
		}
	})
	for _, shape := range []string{"gateway", "hop", "pair"} {
		t.Run("answer-"+shape, func(t *testing.T) {
			at := newLab(t).shape(shape, program, model.HTTP)
			for version, c := range map[string]*http.Client{"h1": h1Client(t), "h2": h2Client(t)} {
				resp, got := do(t, c, "GET", "http://"+at.String()+"/", nil)
				if got != "abc" || fmt.Sprint(resp.Trailer) != "map[X-Kept:[yes]]" {
					t.Errorf("%s: %q, trailers %v", version, got, resp.Trailer)
				}
			}
		})
	}
}

// TestFramingTrailers: a message of HTTP/1.1 with such a field behind its content is refused, or cut.
func TestFramingTrailers(t *testing.T) {
	for _, name := range framing() {
		content := "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + name + ": 3\r\n\r\n"
		program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
			if _, err := readHead(r); err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+content)
				_ = drained(r)
			}
		})
		shapes(t, http.HandlerFunc(trailing), model.HTTP, func(t *testing.T, at netip.AddrPort) {
			c := dialRaw(t, at)
			c.send("POST / HTTP/1.1\r\nHost: a\r\n" + content)
			if resp, _ := c.answer("POST"); resp.StatusCode != 400 || resp.Header.Get(failureHeader) != flagBadRequest {
				t.Errorf("%s behind a request: %s", name, resp.Status)
			}
		})
		for _, shape := range []string{"gateway", "hop", "pair"} {
			at := newLab(t).shape(shape, program, model.HTTP)
			for version, client := range map[string]*http.Client{"h1": h1Client(t), "h2": h2Client(t)} {
				resp, err := client.Get("http://" + at.String() + "/")
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == 200 {
					t.Errorf("%s behind an answer: %s, %s gets %q as the whole", name, shape, version, b)
				}
				_ = resp.Body.Close()
			}
		}
	}
}

// TestForbiddenTrailersOfHTTP2 is the same for a client of HTTP/2: to HTTP/1.1 nothing forbidden passes, and to
// HTTP/2 nothing that frames or routes.
func TestForbiddenTrailersOfHTTP2(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, http.HandlerFunc(trailing), protocol, func(t *testing.T, at netip.AddrPort) {
			a := newAttacker(t, at)
			a.block = bytes.Replace(headBlock("/", hpack.HeaderField{Name: "trailer", Value: "x-kept"}), []byte{0x82}, []byte{0x83}, 1) // POST
			if err := a.open(1, false); err != nil {
				t.Fatal(err)
			}
			if err := a.WriteData(1, false, []byte("abc")); err != nil {
				t.Fatal(err)
			}
			names := []string{"content-length", "host"}
			if protocol == model.HTTP {
				for _, name := range forbidden() {
					if name != "connection" && name != "te" { // malformed in HTTP/2 (RFC 9113, section 8.2.2)
						names = append(names, name)
					}
				}
			}
			var block bytes.Buffer
			e := hpack.NewEncoder(&block)
			for _, name := range names {
				_ = e.WriteField(hpack.HeaderField{Name: name, Value: "3"})
			}
			_ = e.WriteField(hpack.HeaderField{Name: "x-kept", Value: "yes"})
			if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			if got := a.field(1, "x-trailers"); got != "map[X-Kept:[yes]]" {
				t.Errorf("the program sees %q", got)
			}
		})
	}
}

// field waits for the head of an answer and returns one of its fields, or what came instead.
func (a *attacker) field(id uint32, name string) string {
	table := hpack.NewDecoder(4096, nil)
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			return "reset: " + f.ErrCode.String()
		case *http2.GoAwayFrame:
			return "GOAWAY: " + f.ErrCode.String() + " " + string(f.DebugData())
		case *http2.HeadersFrame:
			fields, err := table.DecodeFull(f.HeaderBlockFragment())
			if err != nil || f.StreamID != id {
				return fmt.Sprintf("stream %d: %v", f.StreamID, err)
			}
			for _, field := range fields {
				if field.Name == name {
					return field.Value
				}
			}
			return fmt.Sprintf("no such field: %v", fields)
		}
	}
}

// TestHeadsWithoutContent: what a head says of content that does not follow is kept, and informational answers
// reach a client of HTTP/2 too.
func TestHeadsWithoutContent(t *testing.T) {
	program := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		case "/204":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/304":
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Length", "12345")
		if r.Method != "HEAD" {
			_, _ = w.Write(make([]byte, 12345))
		}
	})
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, program, protocol, func(t *testing.T, at netip.AddrPort) {
			for version, c := range map[string]*http.Client{"h1": h1Client(t), "h2": h2Client(t)} {
				for _, x := range []struct {
					method, path string
					status       int
					length       int64
					body         int
					early        string
				}{
					{"HEAD", "/", 200, 12345, 0, ""},
					{"GET", "/204", 204, 0, 0, ""},
					{"GET", "/304", 304, 0, 0, ""},
					{"GET", "/early", 200, 12345, 12345, "103 </a>"},
					{"GET", "/", 200, 12345, 12345, ""},
				} {
					early := ""
					trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
						early += fmt.Sprint(code, " ", h.Get("Link"))
						return nil
					}}
					req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), x.method, "http://"+at.String()+x.path, nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || resp.StatusCode != x.status || resp.ContentLength != x.length || len(b) != x.body || early != x.early {
						t.Errorf("%s: %s %s: %s, length %d, %d bytes, early %q, %v", version, x.method, x.path, resp.Status, resp.ContentLength, len(b), early, err)
					}
					if x.status == 304 && resp.Header.Get("Etag") != `"1"` {
						t.Errorf("%s: the fields of a 304 are %v", version, resp.Header)
					}
				}
			}
		})
	}
}
