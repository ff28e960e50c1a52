package local

import (
	"strings"
	"testing"
)

func TestParsePort(t *testing.T) {
	for in, want := range map[string]string{
		"8080": "8080:8080", "80:8080": "80:8080", "80:8080/http": "80:8080/http", "50051/grpc": "50051:50051/grpc",
		"80/h2c": "80:80/http2", "80/auto": "80:80",
	} {
		if p, err := ParsePort(in); err != nil || p.String() != want {
			t.Errorf("%q: %v, %v", in, p, err)
		}
	}
	for _, in := range []string{"", "0", "65536", "+80", "80:", ":80", "1:2:3", "80/", "80/smtp", "-1", "a"} {
		if p, err := ParsePort(in); err == nil || !strings.Contains(err.Error(), "--port") {
			t.Errorf("%q: %v, %v", in, p, err)
		}
	}
}

func TestParseUpstream(t *testing.T) {
	for in, want := range map[string]string{
		"ratings": "ratings.here:80", "ratings:9080": "ratings.here:9080", "ratings.prod": "ratings.prod:80",
		"ratings.prod:1=2": "ratings.prod:1", "ratings=0": "ratings.here:80",
	} {
		if u, err := ParseUpstream(in, "here"); err != nil || u.Key() != want {
			t.Errorf("%q: %v, %v", in, u, err)
		}
	}
	if u, _ := ParseUpstream("a=81", "here"); u.Local != 81 {
		t.Error(u)
	}
	for _, in := range []string{"", "A", "a.", "a.b.c", "a:", "a:x", "a=", "a=x", "a:80=70000", "-a"} {
		if u, err := ParseUpstream(in, "here"); err == nil || !strings.Contains(err.Error(), "--upstream") {
			t.Errorf("%q: %v, %v", in, u, err)
		}
	}
}

func TestParseLabel(t *testing.T) {
	if k, v, err := ParseLabel("app.kubernetes.io/name=web"); err != nil || k != "app.kubernetes.io/name" || v != "web" {
		t.Error(k, v, err)
	}
	for _, in := range []string{"", "a", "=b", "a b=c", "a=b c", "a=" + strings.Repeat("x", 64)} {
		if _, _, err := ParseLabel(in); err == nil {
			t.Errorf("%q taken", in)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("80:8080/http")
	f.Add("ratings.default:9080=9081")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePort(s); err == nil {
			if again, err := ParsePort(p.String()); err != nil || again != p {
				t.Errorf("%q: %v, then %v, %v", s, p, again, err)
			}
		}
		if u, err := ParseUpstream(s, "default"); err == nil {
			if again, err := ParseUpstream(u.Key(), "x"); err != nil || again.Service != u.Service || again.Port != u.Port {
				t.Errorf("%q: %v, then %v, %v", s, u, again, err)
			}
		}
		_, _, _ = ParseLabel(s)
	})
}
