package route

import (
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestPathChange has the table of HTTPPathModifier.replacePrefixMatch, and the other kinds.
func TestPathChange(t *testing.T) {
	for _, c := range []struct {
		change             model.PathChange
		path, prefix, want string
	}{
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz"}, "/foo/bar", "/foo", "/xyz/bar"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz/"}, "/foo/bar", "/foo", "/xyz/bar"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz"}, "/foo/bar", "/foo/", "/xyz/bar"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz/"}, "/foo/bar", "/foo/", "/xyz/bar"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz"}, "/foo", "/foo", "/xyz"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/xyz"}, "/foo/", "/foo", "/xyz/"},
		{model.PathChange{Type: model.ChangePrefix, Value: ""}, "/foo/bar", "/foo", "/bar"},
		{model.PathChange{Type: model.ChangePrefix, Value: ""}, "/foo/", "/foo", "/"},
		{model.PathChange{Type: model.ChangePrefix, Value: ""}, "/foo", "/foo", "/"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/"}, "/foo/", "/foo", "/"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/"}, "/foo", "/foo", "/"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/v2"}, "/foo?a=b", "/", "/v2/foo?a=b"},
		{model.PathChange{Type: model.ChangePrefix, Value: "/v2"}, "/foo?a=/foo", "/foo", "/v2?a=/foo"},
		{model.PathChange{Type: model.ChangeFull, Value: "/one"}, "/foo/bar?q=1", "/foo", "/one?q=1"},
		{model.PathChange{Type: model.ChangeRegex, Regex: "^/service/([^/]+)(/.*)$", Value: `\2/instance/\1`}, "/service/foo/v1/api?x=$1", "", "/v1/api/instance/foo?x=$1"},
		{model.PathChange{Type: model.ChangeRegex, Regex: "one", Value: "two$1"}, "/xxx/one/yyy/one", "", "/xxx/two$1/yyy/two$1"},
		{model.PathChange{Type: model.ChangeRegex, Regex: "^/.*", Value: "bare"}, "/a", "", "/bare"},
	} {
		change, err := CompilePathChange(&c.change)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(change.Append(nil, c.path, c.prefix)); got != c.want {
			t.Errorf("%+v on %s (prefix %s): %s, want %s", c.change, c.path, c.prefix, got, c.want)
		}
	}
	for _, bad := range []model.PathChange{
		{Type: "other"},
		{Type: model.ChangeFull, Value: "x"},
		{Type: model.ChangeFull, Value: "/a b"},
		{Type: model.ChangeRegex, Regex: "("},
	} {
		if _, err := CompilePathChange(&bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestAppendLocation(t *testing.T) {
	at := Place{Scheme: "http", Host: "a.example", Port: 8080, Path: "/x/y?z=1", Prefix: "/x"}
	full := &model.PathChange{Type: model.ChangeFull, Value: "/new"}
	for _, c := range []struct {
		redirect model.Redirect
		at       Place
		want     string
	}{
		{model.Redirect{}, at, "http://a.example:8080/x/y?z=1"},
		{model.Redirect{Scheme: "https"}, at, "https://a.example/x/y?z=1"},
		{model.Redirect{Scheme: "https", Port: 8443}, at, "https://a.example:8443/x/y?z=1"},
		{model.Redirect{Scheme: "https", Port: 443}, at, "https://a.example/x/y?z=1"},
		{model.Redirect{Host: "b.example"}, at, "http://b.example:8080/x/y?z=1"},
		{model.Redirect{Port: 80}, at, "http://a.example/x/y?z=1"},
		{model.Redirect{Path: full}, at, "http://a.example:8080/new?z=1"},
		{model.Redirect{Path: &model.PathChange{Type: model.ChangePrefix, Value: "/w"}}, at, "http://a.example:8080/w/y?z=1"},
	} {
		change, err := CompilePathChange(c.redirect.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(AppendLocation(nil, &c.redirect, change, c.at)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.redirect, got, c.want)
		}
	}
}
