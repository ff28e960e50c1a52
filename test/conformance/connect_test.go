package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The suite of ConnectRPC starts the server under test itself, asks it by standard input to serve with certain
// properties, and reads from its standard output where it listens. Here this program is that server: it starts
// the suite's reference server and a proxy in front of it, and tells the proxy's address.

// wrapperMode in the environment makes this program such a server: "hop" or "pair".
const (
	wrapperMode   = "WEFT_CONFORMANCE_SERVER"
	wrapperSuites = "WEFT_CONFORMANCE_SUITES"
)

// wrap runs as the server under test and does not return.
func wrap() {
	if err := wrapped(os.Getenv(wrapperMode)); err != nil {
		fmt.Fprintln(os.Stderr, "wrapper:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serverRequest is connectrpc.conformance.v1.ServerCompatRequest, as far as it matters here.
type serverRequest struct {
	http2     bool
	tls       bool
	cert, key []byte
	rest      []byte // all other fields
}

// Numbers of fields and values of the suite's messages.
const (
	requestHTTPVersion = 2
	requestTLS         = 4
	requestCreds       = 7
	credsCert          = 1
	credsKey           = 2
	responseHost       = 1
	responsePort       = 2
	responseCert       = 3
	versionHTTP2       = 2
)

func parseRequest(b []byte) (*serverRequest, error) {
	r := &serverRequest{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		field, value := b[:n+size], b[n:n+size]
		b = b[n+size:]
		switch number {
		case requestTLS:
			v, _ := protowire.ConsumeVarint(value)
			r.tls = v != 0
		case requestCreds:
			creds, _ := protowire.ConsumeBytes(value)
			r.cert, r.key = bytesField(creds, credsCert), bytesField(creds, credsKey)
		case requestHTTPVersion:
			v, _ := protowire.ConsumeVarint(value)
			r.http2 = v == versionHTTP2
			r.rest = append(r.rest, field...)
		default:
			r.rest = append(r.rest, field...)
		}
	}
	return r, nil
}

// bytesField returns a field of a message, nil if it lacks.
func bytesField(b []byte, want protowire.Number) []byte {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return nil
		}
		if number == want {
			v, _ := protowire.ConsumeBytes(b[n:])
			return v
		}
		b = b[n+size:]
	}
	return nil
}

func varintField(b []byte, want protowire.Number) uint64 {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return 0
		}
		if number == want {
			v, _ := protowire.ConsumeVarint(b[n:])
			return v
		}
		b = b[n+size:]
	}
	return 0
}

// Messages travel with their size before them, as four bytes in network order.
func readMessage(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// wrapped serves one request of the suite until it is told to end.
func wrapped(mode string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	b, err := readMessage(os.Stdin)
	if err != nil {
		return err
	}
	req, err := parseRequest(b)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weft-wrap-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := []string{filepath.Join(os.Getenv(wrapperSuites), "referenceserver"), "-port", strconv.Itoa(port)}
	weft := filepath.Join(os.Getenv("WEFT_BIN"), "weft")
	name := fmt.Sprintf("s%d", port)
	if mode == "pair" {
		protocol := "http"
		if req.http2 {
			protocol = "http2"
		}
		program = append([]string{weft, "run", "--service", name, "--port", fmt.Sprintf("80:%d/%s", port, protocol), "--capture", "explicit", "--"}, program...)
	}
	server := exec.Command(program[0], program[1:]...)
	server.Stderr = os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	in, err := server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()
	if err := errors.Join(writeMessage(in, req.rest), in.Close()); err != nil {
		return err
	}
	answer, err := readMessage(out)
	if err != nil {
		return fmt.Errorf("the reference server: %w", err)
	}
	if varintField(answer, responsePort) != uint64(port) {
		return errors.New("the reference server listens elsewhere")
	}
	at, proxy, err := front(mode, weft, dir, name, port, req)
	if err != nil {
		return err
	}
	defer proxy.stop()
	var told []byte
	told = protowire.AppendTag(told, responseHost, protowire.BytesType)
	told = protowire.AppendString(told, "127.0.0.1")
	told = protowire.AppendTag(told, responsePort, protowire.VarintType)
	told = protowire.AppendVarint(told, uint64(at))
	if req.tls {
		told = protowire.AppendTag(told, responseCert, protowire.BytesType)
		told = protowire.AppendBytes(told, req.cert)
	}
	if err := writeMessage(os.Stdout, told); err != nil {
		return err
	}
	<-ended
	return nil
}

// front starts the proxy that the suite's client calls.
func front(mode, weft, dir, service string, port int, req *serverRequest) (int, *process, error) {
	if mode == "pair" {
		m := &mesh{dir: os.Getenv("XDG_RUNTIME_DIR"), socket: os.Getenv("WEFT_SOCKET")}
		local, err := freePort()
		if err != nil {
			return 0, nil, err
		}
		p, err := m.client(weft, service, local)
		if err != nil {
			return 0, nil, err
		}
		// The endpoint is registered as soon as the server's port accepts.
		time.Sleep(500 * time.Millisecond)
		return local, p, nil
	}
	g := &gateway{backend: port, protocol: "http"}
	if req.http2 {
		g.protocol = "kubernetes.io/h2c"
	}
	if req.tls {
		g.certificate, g.key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if err := errors.Join(os.WriteFile(g.certificate, req.cert, 0o600), os.WriteFile(g.key, req.key, 0o600)); err != nil {
			return 0, nil, err
		}
	}
	p, err := g.launch(weft, dir)
	return g.port, p, err
}

var connectSummary = regexp.MustCompile(`Total cases: (\d+)\n(\d+) passed, (\d+) failed`)

// connectSuite runs all cases of the three protocols over HTTP/1.1 and HTTP/2.
func connectSuite(t *testing.T, mode string, tls bool, env ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "features.yaml")
	features := fmt.Sprintf("features:\n  versions: [HTTP_VERSION_1, HTTP_VERSION_2]\n  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB]\n  supportsTls: %v\n  supportsTlsClientCerts: false\n", tls)
	if err := os.WriteFile(conf, []byte(features), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(suites, "connectconformance"), "--mode", "server", "--conf", conf, "--max-servers", "2", "--", self)
	cmd.Env = append(append(os.Environ(), wrapperMode+"="+mode, wrapperSuites+"="+suites), env...)
	out, err := cmd.CombinedOutput()
	m := connectSummary.FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("%v\n%s", err, tail(string(out)))
	}
	t.Log(strings.ReplaceAll(m[0], "\n", ", "))
	if total, _ := strconv.Atoi(m[1]); m[3] != "0" || m[1] != m[2] || total < 1172 {
		t.Errorf("%v\n%s", err, tail(string(out)))
	}
}

func TestConnectConformance(t *testing.T) {
	bin(t, "weft")
	t.Run("hop", func(t *testing.T) { connectSuite(t, "hop", true) })
	t.Run("pair", func(t *testing.T) {
		m := newMesh(t)
		connectSuite(t, "pair", false, m.env()...)
	})
}
