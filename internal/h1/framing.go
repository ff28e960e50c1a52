package h1

import (
	"strings"

	"github.com/weft-mesh/weft/internal/message"
)

// connectionOptions reads what the Connection fields say (RFC 9110, section 7.6.1).
func (p *parser) connectionOptions() error {
	for _, list := range p.option[:p.options] {
		for list != "" {
			var item string
			item, list = nextItem(list)
			if err := p.connectionOption(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) connectionOption(item string) error {
	switch {
	case item == "": // empty list elements are ignored (RFC 9110, section 5.6.1)
	case foldEqual(item, "close"):
		p.close = true
	case foldEqual(item, "keep-alive"):
		p.keepAlive = true
	case foldEqual(item, "upgrade"):
		p.nominatesUpgrade = true
	case foldEqual(item, "te"):
	case !validToken(item):
		return p.fail(400, "bad Connection option "+quote(item))
	case p.nominations == maxNominated:
		return p.fail(400, "Connection nominates too many fields")
	default:
		p.nominated[p.nominations] = item
		p.nominations++
	}
	return nil
}

// persists applies RFC 9112, section 9.3.
func (p *parser) persists() bool {
	if p.close {
		return false
	}
	return p.minor == 1 || p.keepAlive && p.response
}

// protocol returns the one protocol that Upgrade offers, or "": a list, and anything in HTTP/1.0, may be
// ignored (RFC 9110, section 7.8). So are the upgrades to TLS and to other versions of HTTP, which a
// proxy could not switch to in the middle of a connection.
func (p *parser) protocol() string {
	s := p.upgrade
	if !p.nominatesUpgrade || p.minor == 0 || foldEqual(s, "h2c") {
		return ""
	}
	slash := -1
	for i := range len(s) {
		if s[i] == '/' && slash < 0 {
			slash = i
		} else if lowerToken[s[i]] == 0 {
			return ""
		}
	}
	if slash == 0 || slash == len(s)-1 {
		return ""
	}
	if slash > 0 && (foldEqual(s[:slash], "tls") || foldEqual(s[:slash], "http")) {
		return ""
	}
	return s
}

// contentLength reads Content-Length, message.Unknown if there is none. Repetition is refused even where
// the values agree: no sender in order does it, and hops disagree about it.
func (p *parser) contentLength() (int64, error) {
	if p.lengths == 0 {
		return message.Unknown, nil
	}
	if p.lengths > 1 {
		return 0, p.fail(400, "several Content-Length fields")
	}
	n := int64(0)
	for i := range len(p.length) {
		d := p.length[i] - '0'
		if d > 9 {
			return 0, p.fail(400, "bad Content-Length "+quote(p.length))
		}
		if n > (1<<63-1-int64(d))/10 {
			return 0, p.fail(400, "Content-Length too large "+quote(p.length))
		}
		n = n*10 + int64(d)
	}
	if p.length == "" {
		return 0, p.fail(400, "empty Content-Length")
	}
	return n, nil
}

// finalChunked reports whether the last of the codings is chunked.
func finalChunked(codings string) bool {
	last := codings[strings.LastIndexByte(codings, ',')+1:]
	return foldEqual(strings.Trim(last, " \t"), "chunked")
}

// chunked reads Transfer-Encoding: exactly one "chunked" or nothing (RFC 9112, section 6.1). Other codings
// are refused: nobody uses them, and a hop that decodes differently can be made to see another message.
func (p *parser) chunked() (bool, error) {
	switch {
	case p.encodings == 0:
		return false, nil
	case p.encodings > 1:
		return false, p.fail(400, "several Transfer-Encoding fields")
	case p.minor == 0:
		return false, p.fail(400, "Transfer-Encoding in HTTP/1.0")
	case p.lengths > 0:
		return false, p.fail(400, "both Transfer-Encoding and Content-Length")
	case !finalChunked(p.encoding):
		// A request that does not end by its chunks has no end (section 6.3).
		return false, p.fail(400, "Transfer-Encoding that does not end with chunked: "+quote(p.encoding))
	case !foldEqual(p.encoding, "chunked"):
		return false, p.fail(501, "Transfer-Encoding other than chunked: "+quote(p.encoding))
	}
	return true, nil
}
