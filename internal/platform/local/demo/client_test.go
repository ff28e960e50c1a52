package demo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// startClient runs a client and its driver on pipes, as Run does through a process.
func startClient(t *testing.T, hc *http.Client) *remote {
	t.Helper()
	orders, in := io.Pipe()
	out, answers := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- runClient(context.Background(), orders, answers, hc)
		answers.Close()
	}()
	r := newRemote(in, out)
	t.Cleanup(func() {
		in.Close()
		if err := <-done; err != nil {
			t.Errorf("client: %v", err)
		}
		r.close()
	})
	return r
}

func TestClientRunsJobsSideBySide(t *testing.T) {
	url, hc := serverClient(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	r := startClient(t, hc)
	endless, err := r.start(Job{URL: url, RPS: 100})
	if err != nil {
		t.Fatal(err)
	}
	short, err := r.do(t.Context(), Job{URL: url, RPS: 500, Count: 20})
	if err != nil || short.OK != 20 {
		t.Errorf("short job: %+v, %v; want 20 good", short, err)
	}
	long, err := endless.stop(t.Context())
	if err != nil || long.OK == 0 || long.Failed != 0 {
		t.Errorf("stopped job: %+v, %v; want some good and none failed", long, err)
	}
	if _, err := r.do(t.Context(), Job{URL: "nonsense", RPS: 1}); err == nil || !strings.Contains(err.Error(), "url") {
		t.Errorf("bad job: %v, want its error", err)
	}
}

func TestClientAnswersBadOrders(t *testing.T) {
	for line, want := range map[string]string{
		"{":                        "not understood",
		`{"id":"a","jbo":{}}`:      "jbo",
		`{"id":"a"}`:               "neither job nor stop",
		`{"id":"a","job":{"x":1}}`: "not understood",
	} {
		var out bytes.Buffer
		orders, in := io.Pipe()
		go func() { _, _ = in.Write([]byte(line + "\n")); in.Close() }()
		if err := RunClient(t.Context(), orders, &out); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: answered %q, want %q", line, out.String(), want)
		}
	}
}

func TestRemoteTellsThatTheClientIsGone(t *testing.T) {
	orders, in := io.Pipe()
	out, answers := io.Pipe()
	go func() { _, _ = io.Copy(io.Discard, orders) }()
	r := newRemote(in, out)
	run, err := r.start(Job{URL: "http://x/", RPS: 1})
	if err != nil {
		t.Fatal(err)
	}
	answers.Close()
	if _, err := run.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("wait: %v, want that the client has ended", err)
	}
	r.close()
	orders.Close()
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"id":"a","stop":true}`))
	f.Add([]byte(`{"id":"a","job":{"url":"http://x/","rps":-1}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.Contains(line, []byte("url")) && bytes.Contains(line, []byte("rps")) {
			line = bytes.ReplaceAll(line, []byte("http"), []byte("ftp")) // send nothing
		}
		var out bytes.Buffer
		_ = runClient(t.Context(), bytes.NewReader(line), &out, &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Body: http.NoBody, Request: r}, nil
		})})
	})
}
