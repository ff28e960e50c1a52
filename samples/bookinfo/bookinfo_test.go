package bookinfo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/samples/bookinfo/ratings"
	"github.com/weft-mesh/weft/samples/bookinfo/reviews"
)

// get fetches from a service and says how long that took on the test's clock.
func get(t *testing.T, l *lab, target string, h http.Header) (int, string, time.Duration) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	start := time.Now()
	res, err := l.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), time.Since(start)
}

// signIn returns the headers of a browser after the login form was sent.
func signIn(t *testing.T, l *lab, user string) http.Header {
	t.Helper()
	res, err := l.client().PostForm("http://productpage/login", url.Values{"username": {user}, "passwd": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "/productpage" {
		t.Fatalf("login: %d to %q, want 302 to /productpage", res.StatusCode, res.Header.Get("Location"))
	}
	c := res.Cookies()
	if len(c) != 1 || !c[0].HttpOnly {
		t.Fatalf("login: cookies %v, want one that scripts cannot read", c)
	}
	return http.Header{"Cookie": {c[0].Name + "=" + c[0].Value}}
}

func TestPageShowsWhoAnswered(t *testing.T) {
	for version, want := range map[string]string{"v1": "", "v2": `class="stars black"`, "v3": `class="stars red"`} {
		t.Run(version, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.bookinfo(version, ratings.Options{})
				status, body, _ := get(t, l, "productpage/productpage", nil)
				if status != 200 || !strings.Contains(body, "reviews-"+version) || !strings.Contains(body, "1234567890") {
					t.Errorf("status %d, page:\n%s\nwant 200, reviews-%s and the book's number", status, body, version)
				}
				if want == "" && strings.Contains(body, `class="stars`) {
					t.Error("v1 shows stars")
				}
				if !strings.Contains(body, want) {
					t.Errorf("page has no %s", want)
				}
				if want != "" && !strings.Contains(body, "★★★★☆") {
					t.Error("page does not show Reviewer2's four stars")
				}
			})
		})
	}
}

// The lesson of Istio's fault-injection task: a delay of 7 s is within the 10 s of reviews v2, but not within
// the two attempts of 3 s the page makes.
func TestDelayOfRatingsBreaksReviewsOfV2After6Seconds(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v2", ratings.Options{Variant: ratings.Delayed, Chance: func() float64 { return 0 }})
		status, body, took := get(t, l, "productpage/productpage", signIn(t, l, "jason"))
		if status != 200 || !strings.Contains(body, "Sorry, product reviews are currently unavailable for this book.") {
			t.Errorf("status %d, page:\n%s\nwant the reviews panel to fail", status, body)
		}
		if !strings.Contains(body, "PublisherA") {
			t.Error("details are missing: a failing part must not take the page with it")
		}
		if took != 6*time.Second {
			t.Errorf("took %v, want 6 s: two attempts of 3 s", took)
		}
		if n := l.calls("reviews"); n != 2 {
			t.Errorf("%d calls of reviews, want 2", n)
		}
		time.Sleep(20 * time.Second) // let the abandoned calls end on the fake clock
	})
}

func TestDelayOfRatingsIsCutShortByV3(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v3", ratings.Options{Variant: ratings.Delayed, Chance: func() float64 { return 0 }})
		_, body, took := get(t, l, "productpage/productpage", nil)
		if !strings.Contains(body, "Ratings service is currently unavailable") || took != 2500*time.Millisecond {
			t.Errorf("took %v, page:\n%s\nwant ratings unavailable after 2.5 s", took, body)
		}
	})
}

func TestFailureOfRatingsIsToldInBand(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v2", ratings.Options{Variant: ratings.Faulty, Chance: func() float64 { return 0 }})
		if status, _, _ := get(t, l, "ratings/ratings/0", nil); status != 503 {
			t.Errorf("faulty ratings answered %d, want 503", status)
		}
		status, body, _ := get(t, l, "reviews/reviews/0", nil)
		var a reviews.Answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 {
			t.Fatalf("status %d, %v, want JSON with 200", status, err)
		}
		for _, r := range a.Reviews {
			if r.Rating == nil || r.Rating.Error != "Ratings service is currently unavailable" {
				t.Errorf("rating of %s is %+v, want the error", r.Reviewer, r.Rating)
			}
		}
	})
}

func TestMissingBackends(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.page()
		status, body, _ := get(t, l, "productpage/productpage", nil)
		for _, want := range []string{"product details are currently unavailable", "product reviews are currently unavailable"} {
			if status != 200 || !strings.Contains(body, want) {
				t.Errorf("status %d, page lacks %q", status, want)
			}
		}
		for path, want := range map[string]int{
			"/api/v1/products": 200, "/api/v1/products/0": 500, "/api/v1/products/0/reviews": 500,
			"/api/v1/products/0/ratings": 500, "/api/v1/products/x": 400, "/health": 200, "/": 200, "/nothing": 404,
		} {
			if status, body, _ := get(t, l, "productpage"+path, nil); status != want {
				t.Errorf("%s: %d %s, want %d", path, status, body, want)
			}
		}
	})
}

func TestHeadersTravel(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v2", ratings.Options{})
		in := signIn(t, l, "jason")
		travel := http.Header{
			"X-Request-Id": {"r1"}, "X-B3-Traceid": {"t"}, "X-B3-Spanid": {"s"}, "X-B3-Parentspanid": {"p"},
			"X-B3-Sampled": {"1"}, "X-B3-Flags": {"0"}, "B3": {"t-s-1"}, "Traceparent": {"00-a-b-01"}, "Tracestate": {"x=y"},
			"User-Agent": {"test"}, "Authorization": {"Bearer x"}, "Jwt": {"j"},
		}
		for k, v := range travel {
			in[k] = v
		}
		in["X-Private"] = []string{"no"}
		get(t, l, "productpage/productpage", in)
		for _, name := range []string{"details", "reviews", "ratings"} {
			got := l.received(name)
			for k, v := range travel {
				if got.Get(k) != v[0] {
					t.Errorf("%s received %s %q, want %q", name, k, got.Get(k), v[0])
				}
			}
			if got.Get("End-User") != "jason" || got.Get("Cookie") == "" {
				t.Errorf("%s received end-user %q, cookie %q, want jason and the session", name, got.Get("End-User"), got.Get("Cookie"))
			}
			if got.Get("X-Private") != "" {
				t.Errorf("%s received a header that does not travel", name)
			}
		}
	})
}

func TestSession(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v1", ratings.Options{})
		_, body, _ := get(t, l, "productpage/productpage", signIn(t, l, "jason"))
		if !strings.Contains(body, "Signed in as <b>jason</b>") {
			t.Error("page does not say who is signed in")
		}
		// A cookie the page did not sign names nobody.
		_, body, _ = get(t, l, "productpage/productpage", http.Header{"Cookie": {"session=amFzb24.AAAA"}})
		if strings.Contains(body, "jason</b>") || l.received("reviews").Get("End-User") != "" {
			t.Error("a forged session was believed")
		}
		for _, bad := range []string{"", "a b", "x\r\ny: z", strings.Repeat("a", 65)} {
			res, err := l.client().PostForm("http://productpage/login", url.Values{"username": {bad}})
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusBadRequest {
				t.Errorf("name %q: %d, want 400", bad, res.StatusCode)
			}
		}
	})
}

func TestRatings(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v1", ratings.Options{Variant: ratings.Unavailable})
		_, body, _ := get(t, l, "ratings/ratings/0", nil)
		if body != `{"id":0,"ratings":{"Reviewer1":5,"Reviewer2":4}}` {
			t.Errorf("got %s", body)
		}
		post := func(path, text string, want int) {
			t.Helper()
			res, err := l.client().Post("http://ratings"+path, "application/json", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("POST %s %.20s: %d, want %d", path, text, res.StatusCode, want)
			}
		}
		post("/ratings/7", `{"Reviewer1":1}`, 200)
		post("/ratings/7", `[`, 400)
		post("/ratings/x", `{}`, 400)
		post("/ratings/7", `{"a":"`+strings.Repeat("x", 32<<10)+`"}`, 400)
		if _, body, _ = get(t, l, "ratings/ratings/7", nil); body != `{"id":7,"ratings":{"Reviewer1":1}}` {
			t.Errorf("after POST: %s", body)
		}
		time.Sleep(time.Minute) // the variant turns bad, then good again
		if status, _, _ := get(t, l, "ratings/ratings/0", nil); status != 503 {
			t.Errorf("in the second minute: %d, want 503", status)
		}
		time.Sleep(time.Minute)
		if status, _, _ := get(t, l, "ratings/ratings/0", nil); status != 200 {
			t.Errorf("in the third minute: %d, want 200", status)
		}
	})
}

func TestBadIDsAndHealth(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v1", ratings.Options{})
		for target, want := range map[string]int{
			"details/details/0": 200, "details/details/abc": 400, "ratings/ratings/-1": 400, "reviews/reviews/abc": 404,
			"details/details/99999999999": 400, "details/health": 200, "ratings/health": 200, "reviews/health": 200,
		} {
			if status, body, _ := get(t, l, target, nil); status != want {
				t.Errorf("%s: %d %s, want %d", target, status, body, want)
			}
		}
	})
}

func TestPageMetrics(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.bookinfo("v1", ratings.Options{})
		get(t, l, "productpage/productpage", nil)
		_, body, _ := get(t, l, "productpage/metrics", nil)
		if want := `request_result_total{destination_app="details",response_code="200"} 1`; !strings.Contains(body, want) {
			t.Errorf("metrics:\n%s\nlack %s", body, want)
		}
	})
}

func TestUnknownVariants(t *testing.T) {
	if _, err := ratings.New(ratings.Options{Variant: "slow"}); err == nil || !strings.Contains(err.Error(), `"slow"`) {
		t.Errorf("ratings: %v, want an error that names the variant", err)
	}
	if _, err := reviews.New(reviews.Options{Version: "v9"}); err == nil || !strings.Contains(err.Error(), `"v9"`) {
		t.Errorf("reviews: %v, want an error that names the version", err)
	}
}
