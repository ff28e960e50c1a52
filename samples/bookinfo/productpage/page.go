package productpage

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/samples/bookinfo/details"
	"github.com/weft-mesh/weft/samples/bookinfo/reviews"
	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// view is what page.html shows. Of Details and DetailsError one is set, and so of Reviews and ReviewsError.
type view struct {
	Product      product
	Description  template.HTML
	User         string
	Pod          string
	Details      *details.Book
	DetailsError *failure
	Reviews      *reviews.Answer
	ReviewsError *failure
}

// failure is an error panel.
type failure struct {
	Title  string
	Text   string
	Status string
}

func (s *Service) index(w http.ResponseWriter, _ *http.Request) {
	s.render(w, "index.html", s.o)
}

// page answers 200 even when backends fail: which part is missing is what the page is there to show.
func (s *Service) page(w http.ResponseWriter, r *http.Request) {
	p := catalogue()[0]
	v := view{Product: p, Description: template.HTML(p.DescriptionHTML), User: s.user(r), Pod: s.o.Pod} // our own text
	var both sync.WaitGroup
	both.Go(func() { s.showDetails(r, &v) })
	both.Go(func() { s.showReviews(r, &v) })
	both.Wait()
	s.render(w, "page.html", v)
}

func (s *Service) showDetails(r *http.Request, v *view) {
	a, ok := s.details(r, v.Product.ID)
	var book details.Book
	if ok && json.Unmarshal(a.Body, &book) == nil {
		v.Details = &book
		return
	}
	v.DetailsError = &failure{"Error fetching product details!", noDetails, statusText(a, ok)}
}

func (s *Service) showReviews(r *http.Request, v *view) {
	a, ok := s.reviews(r, v.Product.ID)
	var answer reviews.Answer
	if ok && json.Unmarshal(a.Body, &answer) == nil {
		v.Reviews = &answer
		return
	}
	v.ReviewsError = &failure{"Error fetching product reviews!", noReviews, statusText(a, ok)}
}

func statusText(a service.Answer, ok bool) string {
	if ok {
		return "the answer was not JSON"
	}
	return "status " + strconv.Itoa(a.Status) + " " + http.StatusText(a.Status)
}

// render writes a page, or 500 without half a page when the template fails.
func (s *Service) render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, data); err != nil {
		s.o.Logger.Error("page", "template", name, "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store") // who answered changes from one load to the next
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes())
}

// starRow draws n stars out of five.
func starRow(n int) string {
	n = min(max(n, 0), 5)
	return strings.Repeat("★", n) + strings.Repeat("☆", 5-n)
}
