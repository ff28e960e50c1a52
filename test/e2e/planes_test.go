package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdServer is an etcd that belongs to no control plane; it prints its address and runs until SIGTERM.
func etcdServer(dir string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	free := func() (url.URL, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return url.URL{}, err
		}
		return url.URL{Scheme: "http", Host: ln.Addr().String()}, ln.Close()
	}
	client, err := free()
	if err != nil {
		return err
	}
	peer, err := free()
	if err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Dir, c.LogLevel = dir, "error"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer e.Close()
	<-e.Server.ReadyNotify()
	fmt.Println("etcd://" + client.Host)
	<-stop
	return nil
}

// twoPlanes starts an etcd and two control planes on it.
func twoPlanes(t *testing.T) (a, b *mesh) {
	t.Helper()
	_ = bin(t, "weft")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	etcd := start(t, []string{child + "=etcd"}, self, filepath.Join(dir, "etcd"))
	eventually(t, 60*time.Second, "etcd is ready", func() error {
		if !strings.HasPrefix(etcd.out.String(), "etcd://") {
			return fmt.Errorf("it says %q %s", etcd.out.String(), etcd.err.String())
		}
		return nil
	})
	plane := func(name string) *mesh {
		return newMesh(t, "--store", strings.TrimSpace(etcd.out.String()), "--ca-key", filepath.Join(dir, "ca.key"), "--instance", name)
	}
	return plane("a"), plane("b")
}

// TestTwoControlPlanesOnOneEtcd has a server behind one and a client behind the other.
func TestTwoControlPlanesOnOneEtcd(t *testing.T) {
	a, b := twoPlanes(t)
	a.httpService("web", "v1")
	a.httpService("web", "v2")
	a.ready("web", 2)
	b.ready("web", 2)
	end := b.steady("http://web/")

	var status struct {
		Proxies []struct {
			Node     struct{ Service string }
			Instance string
		}
	}
	eventually(t, 60*time.Second, "each shows the proxies of both", func() error {
		for _, m := range []*mesh{a, b} {
			out := m.must("proxy-status", "-o", "json")
			status.Proxies = nil
			if err := json.Unmarshal([]byte(out), &status); err != nil {
				return err
			}
			of := map[string]string{}
			for _, p := range status.Proxies {
				of[p.Node.Service] = p.Instance
			}
			if len(status.Proxies) != 3 || of["web"] != "a" || of["steady"] != "b" {
				return fmt.Errorf("%s", out)
			}
		}
		return nil
	})

	out := a.must("apply", "--wait", "-f", a.file("web.yaml", weighted(0, 1)))
	if !regexp.MustCompile(`is live on 3 `).MatchString(out) {
		t.Errorf("apply --wait through a does not wait for the proxies of both: %s", out)
	}
	if c := b.join("tally", "50 http://web/"); c.out.String() != "v2=50\n" {
		t.Errorf("behind b, after apply --wait through a: %s%s", c.out.String(), c.err.String())
	}
	tap := start(t, []string{"WEFT_SOCKET=" + a.socket}, bin(t, "weft"), "tap", "--to", "web", "--max-rps", "5")
	eventually(t, 10*time.Second, "tap through a shows requests of b's proxy", func() error {
		if !regexp.MustCompile(`proxy=out .*:path=/`).MatchString(tap.out.String()) {
			return fmt.Errorf("tap: %s", clip(tap.out.String()))
		}
		return nil
	})
	for _, m := range []*mesh{a, b} {
		eventually(t, 60*time.Second, "both know the edge", func() error {
			if out := m.must("edges"); !regexp.MustCompile(`(?m)^steady\s+web\s.*(ok|√)`).MatchString(out) {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
	}
	end(20)
}

// TestIdentitiesOutliveTheControlPlane has a client that joins after a restart reach a server that joined before it,
// while another client never notices.
func TestIdentitiesOutliveTheControlPlane(t *testing.T) {
	m := newMesh(t)
	server := m.httpService("web", "v1")
	m.ready("web", 1)
	end := m.steady("http://web/")
	_ = m.serve.cmd.Process.Kill()
	<-m.serve.done
	m.serve = start(t, nil, bin(t, "weft"), m.args...)
	m.awaitReady()
	eventually(t, 10*time.Second, "both proxies are back and current", func() error {
		out := m.must("proxy-status")
		// Once each, with the same revision acknowledged and sent, and since when.
		if got := regexp.MustCompile(`(?m)^(web|steady)-\S+\s+(web|steady)\s+\S+\s+(\d+)/(\d+)\s+\d+m?s\s+current`).FindAllStringSubmatch(out, -1); len(got) != 2 ||
			got[0][3] != got[0][4] || got[1][3] != got[1][4] || strings.Count(out, "\n") != 3 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for _, service := range []string{"web", "steady"} {
		if r := m.weft("proxy-config", "dump", service); r.code != 0 || !strings.Contains(r.stdout, "mesh.local") {
			t.Errorf("proxy-config dump %s after the restart: exit %d: %s%s", service, r.code, clip(r.stdout), r.stderr)
		}
	}
	if c := m.join("tally", "50 http://web/"); c.out.String() != "v1=50\n" {
		t.Errorf("a client that joined after the restart: %s%s", c.out.String(), c.err.String())
	}
	if s := server.err.String(); strings.Contains(s, "refused") {
		t.Errorf("the server's proxy refused somebody: %s", clip(s))
	}
	end(20)
}
