package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// istioSamples are the documents of samples/bookinfo/istio.
const istioSamples = "../../samples/bookinfo/istio"

// bookInfo is BookInfo as `weft demo` runs it, without its load.
type bookInfo struct {
	*mesh
	page string // its address
}

func newBookInfo(t *testing.T) *bookInfo {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bookInfo{mesh: &mesh{t: t, dir: dir, socket: filepath.Join(dir, "d", "weft.sock")}}
	b.serve = start(t, nil, bin(t, "weft"), "demo", "--load", "-1", "--data-dir", filepath.Join(dir, "d"))
	page := regexp.MustCompile(`The page: +(http://\S+)`)
	eventually(t, 60*time.Second, "the demo runs", func() error {
		found := page.FindStringSubmatch(b.serve.out.String())
		if found == nil {
			return errors.New(clip(b.serve.out.String()))
		}
		b.page = found[1]
		return nil
	})
	b.apply("destination-rule-all")
	return b
}

// apply applies samples and waits until every proxy has them.
func (b *bookInfo) apply(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.must("apply", "--wait", "-f", filepath.Join(istioSamples, name+".yaml"))
	}
}

// reader looks at pages, signed in if it has a name.
type reader struct {
	t    *testing.T
	http *http.Client
	page string
}

func newReader(t *testing.T, page, name string) *reader {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, page: page, http: &http.Client{
		Jar: jar, Timeout: 60 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // from the login to the page
	}}
	if name != "" {
		resp, err := r.http.PostForm(strings.TrimSuffix(page, "/productpage")+"/login", url.Values{"username": {name}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	return r
}

// sees are the parts of the page that tell one version and failure from another.
func (r *reader) sees() string {
	r.t.Helper()
	resp, err := r.http.Get(r.page)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %v", resp.Status, err)
	}
	for _, part := range []struct{ has, is string }{
		{"product details are currently unavailable", "no details"},
		{"product reviews are currently unavailable", "no reviews"},
		{"Ratings service is currently unavailable", "no ratings"},
		{`class="stars black"`, "black stars"},
		{`class="stars red"`, "red stars"},
		{"Reviews served by <b>reviews-v1</b>", "no stars"},
	} {
		if strings.Contains(string(b), part.has) {
			return part.is
		}
	}
	r.t.Fatalf("nothing of what is known on the page:\n%s", b)
	return ""
}

// wants has a reader see the same on so many pages.
func (r *reader) wants(n int, want string) {
	r.t.Helper()
	for range n {
		if got := r.sees(); got != want {
			r.t.Errorf("the page shows %s, want %s", got, want)
			return
		}
	}
}

// wantsWithin has a reader see something after a time: not sooner than least, and not later than slack on top, which is
// for a busy machine.
func (r *reader) wantsWithin(want string, least, most time.Duration) {
	r.t.Helper()
	const slack = 20 * time.Second
	began := time.Now()
	got := r.sees()
	took := time.Since(began)
	r.t.Logf("%s after %v", got, took.Round(10*time.Millisecond))
	if got != want || took < least || took > most+slack {
		r.t.Errorf("the page shows %s after %v, want %s after %v to %v", got, took, want, least, most+slack)
	}
}

// TestIstioBookInfo applies each of the samples in Istio's dialect to BookInfo, and looks for what Istio's documentation
// says one will see.
func TestIstioBookInfo(t *testing.T) {
	b := newBookInfo(t)
	tasks := b.tasks()
	checkUse(t, tasks)
	for _, task := range tasks {
		t.Run(task.name, func(t *testing.T) {
			b.t = t
			// Each begins with what the tasks have in common, which takes back what the last one changed.
			b.apply(append([]string{"destination-rule-all"}, task.files...)...)
			task.check(t, newReader(t, b.page, ""), newReader(t, b.page, "jason"))
		})
	}
	b.t = t
}

// checkUse wants every sample to be used by a task.
func checkUse(t *testing.T, tasks []istioTask) {
	t.Helper()
	samples, err := filepath.Glob(istioSamples + "/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatal(samples, err)
	}
	used := []string{"destination-rule-all", "bookinfo-gateway"}
	for _, task := range tasks {
		used = append(used, task.files...)
	}
	for _, file := range samples {
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); !slices.Contains(used, name) {
			t.Errorf("%s is used by no task", file)
		}
	}
}

// istioTask is a task of Istio's documentation.
type istioTask struct {
	name  string
	files []string // applied one after the other
	check func(t *testing.T, anyone, jason *reader)
}

func (b *bookInfo) tasks() []istioTask {
	return []istioTask{
		{"request routing", []string{"virtual-service-all-v1"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(20, "no stars")
			jason.wants(20, "no stars")
		}},
		{"routing by user", []string{"virtual-service-all-v1", "virtual-service-reviews-test-v2"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(20, "no stars")
			jason.wants(20, "black stars")
		}},
		{"shifting half", []string{"virtual-service-all-v1", "virtual-service-reviews-50-v3"}, func(t *testing.T, anyone, _ *reader) {
			const n = 300
			tally := map[string]int{}
			for range n {
				tally[anyone.sees()]++
			}
			within(t, "version 3", tally["red stars"], n, 0.5, 0)
			if tally["no stars"]+tally["red stars"] != n {
				t.Errorf("the pages show %v", tally)
			}
		}},
		{"shifting all", []string{"virtual-service-all-v1", "virtual-service-reviews-v3"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(20, "red stars")
			jason.wants(20, "red stars")
		}},
		// The page waits for 3 s and asks for reviews twice.
		{"delay", []string{"virtual-service-all-v1", "virtual-service-reviews-test-v2", "virtual-service-ratings-test-delay"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(5, "no stars")
			jason.wantsWithin("no reviews", 5900*time.Millisecond, 6*time.Second)
		}},
		// Reviews at version 3 gives up after 2.5 s and shows the reviews without ratings (the bug that the task fixes).
		{"delay, with version 3", []string{"virtual-service-all-v1", "virtual-service-reviews-v3", "virtual-service-ratings-test-delay"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(5, "red stars")
			jason.wantsWithin("no ratings", 2400*time.Millisecond, 2500*time.Millisecond)
		}},
		{"abort", []string{"virtual-service-all-v1", "virtual-service-reviews-test-v2", "virtual-service-ratings-test-abort"}, func(_ *testing.T, anyone, jason *reader) {
			anyone.wants(5, "no stars")
			jason.wantsWithin("no ratings", 0, time.Second)
		}},
		// Half a second for reviews, which are asked twice.
		{"timeouts", []string{"virtual-service-all-v1", "request-timeouts"}, func(_ *testing.T, anyone, _ *reader) {
			anyone.wantsWithin("no reviews", 990*time.Millisecond, time.Second)
		}},
		{"mirroring", []string{"virtual-service-all-v1", "mirroring"}, b.mirrors},
		{"circuit breaking", []string{"virtual-service-all-v1", "circuit-breaking"}, b.breaks},
		{"gateway", []string{"virtual-service-all-v1"}, b.gateway},
	}
}

// answered is how many requests a version of reviews has answered since the demo began.
func (b *bookInfo) answered(version string) int {
	b.t.Helper()
	const window = 10 * time.Minute // longer than the test takes
	var rows []struct {
		Version string
		RPS     float64
	}
	out := b.must("stat", "reviews", "--by", "version", "-t", window.String(), "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	for _, row := range rows {
		if row.Version == version {
			return int(math.Round(row.RPS * window.Seconds()))
		}
	}
	return 0
}

// settledCount waits until the reports of what has been are in: twice the same within three of their periods.
func (b *bookInfo) settledCount(version string) (n int) {
	b.t.Helper()
	n = -1
	var since time.Time
	eventually(b.t, 60*time.Second, "all requests are reported", func() error {
		if now := b.answered(version); now != n {
			n, since = now, time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return fmt.Errorf("%d just now", n)
		}
		return nil
	})
	return n
}

// mirrors: version 1 answers all, and version 3 is asked as often.
func (b *bookInfo) mirrors(t *testing.T, anyone, _ *reader) {
	const pages = 40
	before1, before3 := b.settledCount("v1"), b.settledCount("v3")
	anyone.wants(pages, "no stars")
	eventually(t, 30*time.Second, "both are reported", func() error {
		if v1, v3 := b.answered("v1")-before1, b.answered("v3")-before3; v1 != pages || v3 != pages {
			return fmt.Errorf("of %d pages version 1 answered %d and version 3 %d", pages, v1, v3)
		}
		return nil
	})
}

// breaks: one caller, and one that waits for it, are served; of eight at once some are refused, with the reason, and
// nobody is ejected for it.
func (b *bookInfo) breaks(t *testing.T, _, _ *reader) {
	c := b.prober()
	ask := func(callers int) (good, refused int) {
		const n = 200
		for said, times := range c.tell(n, callers, "http://reviews:9080/reviews/0") {
			switch {
			case strings.Contains(said, `"podname":"reviews-v1"`):
				good += times
			case strings.HasPrefix(said, "503 overload:"):
				refused += times
			default:
				t.Errorf("%d times: %s", times, said)
			}
		}
		t.Logf("%d callers: %d good, %d refused", callers, good, refused)
		return good, refused
	}
	if _, refused := ask(1); refused > 0 {
		t.Errorf("%d requests of one caller are refused", refused)
	}
	if good, refused := ask(8); good == 0 || refused == 0 {
		t.Errorf("of eight callers %d requests are good, %d refused: want some of each", good, refused)
	}
	if _, refused := ask(1); refused > 0 {
		t.Errorf("afterwards %d requests of one caller are refused", refused)
	}
}

// gateway: the page's paths are there for those outside, and no others.
func (b *bookInfo) gateway(t *testing.T, _, _ *reader) {
	page, err := url.Parse(b.page)
	if err != nil {
		t.Fatal(err)
	}
	// The sample's port is a fixed one, so the gateway has an address of its own.
	const address = "127.80.80.1"
	services := b.file("page.yaml", strings.ReplaceAll(strings.ReplaceAll(service("productpage", 0), "port: 80}", "port: 9080}"), "port: 0}", "port: "+page.Port()+"}"))
	start(t, nil, bin(t, "weft"), "gateway", "-f", istioSamples+"/bookinfo-gateway.yaml", "-f", services, "--bind", address)
	base := "http://" + address + ":8080"
	c := &http.Client{Timeout: 20 * time.Second}
	eventually(t, 30*time.Second, "the gateway serves", func() error {
		resp, err := c.Get(base + "/productpage")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	newReader(t, base+"/productpage", "").wants(5, "no stars")
	newReader(t, base+"/productpage", "jason").wants(5, "no stars")
	for _, ask := range []struct {
		path, failure string
		status        int
	}{
		{"/api/v1/products", "", 200},
		{"/api/v1/products/0/reviews", "", 200},
		{"/static/none.css", "", 404}, // the page's own answer: it has no such file
		{"/", "no_route", 404},
		{"/productpage/more", "no_route", 404},
		{"/health", "no_route", 404},
	} {
		resp, err := c.Get(base + ask.path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("weft-failure"); resp.StatusCode != ask.status || got != ask.failure {
			t.Errorf("%s: %d %q, want %d %q", ask.path, resp.StatusCode, got, ask.status, ask.failure)
		}
	}
}
