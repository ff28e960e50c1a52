package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of a client.
const (
	maxBody    = 1 << 20
	idleConns  = 64
	idleConn   = 60 * time.Second
	dialWithin = 2 * time.Second
)

// forwarded are the headers a service passes from the request it received to those it makes, so that one
// trace, one user and one session span the whole page.
func forwarded() []string {
	return []string{
		"X-Request-Id",
		"X-B3-Traceid", "X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags", "B3",
		"Traceparent", "Tracestate",
		"End-User", "User-Agent", "Cookie", "Authorization", "Jwt",
	}
}

// ForwardHeaders copies the headers that travel with a request from one to the next.
func ForwardHeaders(to, from http.Header) {
	for _, name := range forwarded() {
		if v, ok := from[name]; ok {
			to[name] = append([]string(nil), v...)
		}
	}
}

// NewClient returns a client that keeps connections open, honours HTTP_PROXY and NO_PROXY, and never follows
// a redirect. Deadlines are the caller's.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialWithin, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConns:        4 * idleConns,
			MaxIdleConnsPerHost: idleConns,
			IdleConnTimeout:     idleConn,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Answer is a response that has been read to its end.
type Answer struct {
	Status int
	Body   []byte
}

// Get fetches url within the timeout, passing on the headers of the request in hand. It returns an error when
// there is no complete answer; a status of 500 is an answer. Bodies over 1 MiB are an error.
func Get(ctx context.Context, c *http.Client, url string, in http.Header, timeout time.Duration) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, fmt.Errorf("request to %s: %w", url, err)
	}
	ForwardHeaders(req.Header, in)
	res, err := c.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("call: %w", err) // the error of Do names method and URL
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer of %s: %w", url, err)
	}
	if len(body) > maxBody {
		return Answer{}, fmt.Errorf("answer of %s is over %d bytes", url, maxBody)
	}
	return Answer{Status: res.StatusCode, Body: body}, nil
}

// BaseURL makes the address of a peer from HOST or HOST:PORT as the *_HOSTNAME variables have it; without a
// port it is 9080.
func BaseURL(host string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "9080")
	}
	return "http://" + host
}
