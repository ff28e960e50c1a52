package productpage

import (
	"net/http"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// product is what the page itself knows of a book.
type product struct {
	ID              int    `json:"id"`
	Title           string `json:"title"`
	DescriptionHTML string `json:"descriptionHtml"`
}

func catalogue() []product {
	return []product{{
		ID: 0, Title: "The Comedy of Errors",
		DescriptionHTML: "<em>The Comedy of Errors</em> is among the earliest and shortest of William Shakespeare's plays: " +
			"two pairs of twins, parted at birth, meet in one city on one day, and nobody is taken for who he is.",
	}}
}

func (s *Service) products(w http.ResponseWriter, _ *http.Request) {
	service.JSON(w, http.StatusOK, catalogue())
}

func (s *Service) product(w http.ResponseWriter, r *http.Request) {
	s.relay(w, r, s.details, noDetails)
}

func (s *Service) productReviews(w http.ResponseWriter, r *http.Request) {
	s.relay(w, r, s.reviews, noReviews)
}

func (s *Service) productRatings(w http.ResponseWriter, r *http.Request) {
	s.relay(w, r, s.ratings, noRatings)
}

// relay answers with what the backend said: its body when that is 200, an error of the same status otherwise.
func (s *Service) relay(w http.ResponseWriter, r *http.Request, ask func(*http.Request, int) (service.Answer, bool), failed string) {
	id, ok := service.ProductID(r)
	if !ok {
		service.Error(w, http.StatusBadRequest, "please provide numeric product ID")
		return
	}
	a, ok := ask(r, id)
	if !ok {
		service.Error(w, a.Status, failed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(a.Body)
}
