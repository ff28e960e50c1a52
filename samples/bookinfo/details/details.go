package details

import (
	"net/http"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// Book is the answer of /details/{id}.
type Book struct {
	ID        int    `json:"id"`
	Author    string `json:"author"`
	Year      int    `json:"year"`
	Type      string `json:"type"`
	Pages     int    `json:"pages"`
	Publisher string `json:"publisher"`
	Language  string `json:"language"`
	ISBN10    string `json:"ISBN-10"`
	ISBN13    string `json:"ISBN-13"`
}

// New returns the service.
func New() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", service.Health("Details"))
	mux.HandleFunc("GET /details/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, ok := service.ProductID(r)
		if !ok {
			service.Error(w, http.StatusBadRequest, "please provide numeric product id")
			return
		}
		service.JSON(w, http.StatusOK, book(id))
	})
	return mux
}

// book is the same for every number, as in the original.
func book(id int) Book {
	return Book{
		ID: id, Author: "William Shakespeare", Year: 1595, Type: "paperback", Pages: 200,
		Publisher: "PublisherA", Language: "English", ISBN10: "1234567890", ISBN13: "123-1234567890",
	}
}
