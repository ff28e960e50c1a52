package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// The receiving side of the PROXY protocol (HAProxy, proxy-protocol.txt): a load balancer in front begins each
// connection by saying whose it is. Whether there is a header is never guessed (section 2): connections of the trusted
// sources have one, and others none.

const (
	proxyV1Prefix   = "PROXY "
	maxProxyV1      = 107     // bytes of a line with its end (section 2.1)
	maxProxyHeader  = 4 << 10 // bytes of a binary header with its TLVs, of which 216 have to be taken (section 2.2)
	proxyV2Fixed    = 16
	typeChecksum    = 0x03 // PP2_TYPE_CRC32C
	shortestProxyV1 = 15   // "PROXY UNKNOWN\r\n"
)

var (
	errProxyHeader = errors.New("no valid header of the PROXY protocol")
	errUntrusted   = errors.New("the listener takes connections of trusted sources of the PROXY protocol alone")
)

func badProxyHeader(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProxyHeader, fmt.Sprintf(format, args...))
}

// readProxyHeader reads a header of either version, and not a byte more. known is false where the sender names no
// client: then the connection is its own. buf bounds the header and is written to.
func readProxyHeader(r io.Reader, buf []byte) (from, to netip.AddrPort, known bool, err error) {
	buf = buf[:min(len(buf), maxProxyHeader)]
	start := buf[:len(proxySignature)] // both versions have at least as many bytes
	if _, err := io.ReadFull(r, start); err != nil {
		return from, to, false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	switch {
	case string(start) == proxySignature:
		return readProxyV2(r, buf)
	case string(start[:len(proxyV1Prefix)]) == proxyV1Prefix:
		return readProxyV1(r, buf)
	}
	return from, to, false, badProxyHeader("the first bytes are of neither version")
}

// readProxyV1 reads the rest of a line, of which buf has the beginning. Bytes behind the line are the client's, so it
// is read in pieces that cannot reach beyond.
func readProxyV1(r io.Reader, buf []byte) (from, to netip.AddrPort, known bool, err error) {
	n := len(proxySignature)
	for want := shortestProxyV1; ; want = n + 1 {
		if _, err := io.ReadFull(r, buf[n:want]); err != nil {
			return from, to, false, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
		n = want
		if bytes.HasSuffix(buf[:n], []byte("\r\n")) {
			return parseProxyV1(string(buf[len(proxyV1Prefix) : n-2]))
		}
		if n == maxProxyV1 {
			return from, to, false, badProxyHeader("the line has more than %d bytes", maxProxyV1)
		}
	}
}

// parseProxyV1 reads what stands between "PROXY " and the end of the line (section 2.1).
func parseProxyV1(line string) (from, to netip.AddrPort, known bool, err error) {
	fields := bytes.Split([]byte(line), []byte(" "))
	family := string(fields[0])
	if family == "UNKNOWN" {
		return from, to, false, nil // what follows is to be ignored
	}
	if family != "TCP4" && family != "TCP6" || len(fields) != 5 {
		return from, to, false, badProxyHeader("the line is not PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT")
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		ip, err := netip.ParseAddr(string(fields[1+i]))
		if err != nil || ip.Zone() != "" || ip.Is4() != (family == "TCP4") {
			return from, to, false, badProxyHeader("an address is not one of %s", family)
		}
		text := string(fields[3+i])
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != text {
			return from, to, false, badProxyHeader("a port is not a number 0 to 65535")
		}
		ends[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return ends[0], ends[1], true, nil
}

// readProxyV2 reads the rest of a binary header, of which buf has the signature (section 2.2).
func readProxyV2(r io.Reader, buf []byte) (from, to netip.AddrPort, known bool, err error) {
	if _, err := io.ReadFull(r, buf[len(proxySignature):proxyV2Fixed]); err != nil {
		return from, to, false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	command, family := buf[12], buf[13]
	size := proxyV2Fixed + int(binary.BigEndian.Uint16(buf[14:]))
	switch {
	case command>>4 != 2 || command&15 > 1:
		return from, to, false, badProxyHeader("version and command are %#x", command)
	case family>>4 > 3 || family&15 > 2:
		return from, to, false, badProxyHeader("family and protocol are %#x", family)
	case size > len(buf):
		return from, to, false, badProxyHeader("it has %d bytes, more than %d", size, len(buf))
	}
	if _, err := io.ReadFull(r, buf[proxyV2Fixed:size]); err != nil {
		return from, to, false, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	local := command&15 == 0
	width := map[byte]int{1: 4, 2: 16, 3: 108}[family>>4] // of an address
	if local || width == 0 {
		return from, to, false, nil // the rest is to be ignored
	}
	ports := 4
	if width == 108 {
		ports = 0
	}
	addresses := buf[proxyV2Fixed:size]
	if len(addresses) < 2*width+ports {
		return from, to, false, badProxyHeader("it is too short for its addresses")
	}
	if err := checkTLVs(buf[:size], proxyV2Fixed+2*width+ports); err != nil {
		return from, to, false, err
	}
	if family != 0x11 && family != 0x21 {
		return from, to, false, nil // no stream of IP: nothing that could stand for the client
	}
	end := func(i int) netip.AddrPort {
		ip, _ := netip.AddrFromSlice(addresses[i*width : (i+1)*width])
		return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(addresses[2*width+2*i:]))
	}
	return end(0), end(1), true, nil
}

// checkTLVs wants whole TLVs from start on, and a checksum that is right where there is one (section 2.2.4).
func checkTLVs(header []byte, start int) error {
	for at := start; at < len(header); {
		if len(header)-at < 3 {
			return badProxyHeader("a TLV is cut off")
		}
		value := at + 3
		next := value + int(binary.BigEndian.Uint16(header[at+1:]))
		if next > len(header) {
			return badProxyHeader("a TLV is cut off")
		}
		if header[at] == typeChecksum {
			if next-value != 4 {
				return badProxyHeader("its checksum has %d bytes", next-value)
			}
			told := binary.BigEndian.Uint32(header[value:])
			clear(header[value:next]) // counted as zero
			if told != crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)) {
				return badProxyHeader("its checksum is wrong")
			}
		}
		at = next
	}
	return nil
}

// trusts reports whether a connection's first bytes are a header, and whether it is served at all.
func trusts(p *model.ProxyClients, remote netip.Addr) (header, served bool) {
	remote = remote.Unmap()
	for _, source := range p.Trusted {
		if source.Contains(remote) {
			return true, true
		}
	}
	return false, p.Direct
}

// introduce takes the header of a client's connection, where the listener wants one, and from then on takes the
// connection for the client's: in logs, x-forwarded-for, hashes, limits. It runs as a task, which it parks.
func (w *worker) introduce(raw *loop.Conn, o *origin) error {
	p := o.entry.socket.ProxyProtocol
	if p == nil {
		return nil
	}
	header, served := trusts(p, o.remote.Addr())
	if !served {
		return errUntrusted
	}
	if !header {
		return nil
	}
	buf := w.loop.Get(loop.SmallBuffer)
	defer w.loop.Put(buf)
	_ = raw.SetReadDeadline(w.loop.Now().Add(handshakeTimeout))
	from, to, known, err := readProxyHeader(raw, buf)
	_ = raw.SetReadDeadline(time.Time{})
	if err == nil && known {
		o.remote, o.dst = from, to
	}
	return err
}

// introduced returns the first turn of a connection that may begin with a header.
func (s *h1server) introduced(first func()) func() {
	if s.o.entry.socket.ProxyProtocol == nil {
		return first
	}
	return func() {
		if err := s.w.introduce(s.c.raw, s.o); err != nil {
			s.w.refused(s.o.remote, flagBadHandshake, err)
			s.close()
			return
		}
		first()
	}
}
