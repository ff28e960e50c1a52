package productpage

import (
	"net/http"
	"strconv"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// Messages for what could not be had, as the original words them.
const (
	noDetails = "Sorry, product details are currently unavailable for this book."
	noReviews = "Sorry, product reviews are currently unavailable for this book."
	noRatings = "Sorry, product ratings are currently unavailable for this book."
)

func (s *Service) details(r *http.Request, id int) (service.Answer, bool) {
	return s.ask(r, "details", s.o.Details+"/details/"+strconv.Itoa(id))
}

// reviews asks twice: the second attempt is the original's, and with its timeout of 3 s it is why a delay of
// 7 s in ratings shows after 6.
func (s *Service) reviews(r *http.Request, id int) (service.Answer, bool) {
	var a service.Answer
	for range attempts {
		var ok bool
		if a, ok = s.ask(r, "reviews", s.o.Reviews+"/reviews/"+strconv.Itoa(id)); ok {
			return a, true
		}
		if r.Context().Err() != nil {
			break // the reader has left
		}
	}
	return a, false
}

func (s *Service) ratings(r *http.Request, id int) (service.Answer, bool) {
	return s.ask(r, "ratings", s.o.Ratings+"/ratings/"+strconv.Itoa(id))
}

// ask calls one backend as the user in session. It reports false unless the answer is 200; Status is then
// what came, or 500 when nothing did.
func (s *Service) ask(r *http.Request, app, url string) (service.Answer, bool) {
	h := r.Header.Clone()
	if user := s.user(r); user != "" {
		h.Set("End-User", user)
	}
	a, err := service.Get(r.Context(), s.o.Client, url, h, s.o.Timeout)
	if err != nil {
		s.o.Logger.Warn("no answer", "service", app, "error", err)
		a = service.Answer{Status: http.StatusInternalServerError}
	}
	s.metrics.count(app, a.Status)
	return a, a.Status == http.StatusOK
}
