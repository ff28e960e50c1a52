package reviews

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// Options set up a Service.
type Options struct {
	Version string // "v1", "v2" or "v3"
	Ratings string // base URL of ratings, for v2 and v3
	Pod     string // name of this instance, shown on the page
	Cluster string
	Client  *http.Client // default service.NewClient
	Logger  *slog.Logger
}

// stars says how a version treats ratings. Timeouts are the original's: short enough in v3 that a delay of
// ratings shows on the page, long enough in v2 that it becomes the page's own timeout.
type stars struct {
	shown   bool
	color   string
	timeout time.Duration
}

// Service answers for reviews.
type Service struct {
	o     Options
	stars stars
}

// New returns the service, or an error when the version is unknown or has nobody to ask for ratings.
func New(o Options) (*Service, error) {
	s := &Service{o: o}
	switch o.Version {
	case "v1":
	case "v2":
		s.stars = stars{shown: true, color: "black", timeout: 10 * time.Second}
	case "v3":
		s.stars = stars{shown: true, color: "red", timeout: 2500 * time.Millisecond}
	default:
		return nil, fmt.Errorf("unknown version %q; known are v1, v2, v3", o.Version)
	}
	if s.stars.shown && o.Ratings == "" {
		return nil, errors.New("address of ratings is missing; set RATINGS_HOSTNAME")
	}
	if s.o.Client == nil {
		s.o.Client = service.NewClient()
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Handler serves the endpoints.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", service.Health("Reviews"))
	mux.HandleFunc("GET /reviews/{id}", s.get)
	return mux
}

// Answer is the body of /reviews/{id}.
type Answer struct {
	ID      string   `json:"id"`
	Pod     string   `json:"podname"`
	Cluster string   `json:"clustername"`
	Reviews []Review `json:"reviews"`
}

// Review is what one reader says.
type Review struct {
	Reviewer string  `json:"reviewer"`
	Text     string  `json:"text"`
	Rating   *Rating `json:"rating,omitempty"`
}

// Rating is either stars with their colour, or why there are none.
type Rating struct {
	Stars int    `json:"stars,omitempty"`
	Color string `json:"color,omitempty"`
	Error string `json:"error,omitempty"`
}

const unavailable = "Ratings service is currently unavailable"

func (s *Service) get(w http.ResponseWriter, r *http.Request) {
	if _, ok := service.ProductID(r); !ok {
		service.Error(w, http.StatusNotFound, "please provide numeric product ID")
		return
	}
	a := Answer{ID: r.PathValue("id"), Pod: s.o.Pod, Cluster: s.o.Cluster, Reviews: []Review{
		{Reviewer: "Reviewer1", Text: "Mistaken twins, mistaken masters, mistaken debts: I laughed from the first door to the last."},
		{Reviewer: "Reviewer2", Text: "Light work next to the tragedies, and none the worse for it. A good first play to see."},
	}}
	if s.stars.shown {
		s.rate(r, &a)
	}
	service.JSON(w, http.StatusOK, a)
}

// rate adds each reviewer's stars, or to all of them why there are none.
func (s *Service) rate(r *http.Request, a *Answer) {
	given, err := s.ratings(r)
	if err != nil {
		s.o.Logger.Warn("no ratings", "error", err)
	}
	for i := range a.Reviews {
		n, ok := given[a.Reviews[i].Reviewer]
		switch {
		case err != nil:
			a.Reviews[i].Rating = &Rating{Error: unavailable}
		case ok:
			a.Reviews[i].Rating = &Rating{Stars: min(max(int(n), 0), 5), Color: s.stars.color}
		}
	}
}

func (s *Service) ratings(r *http.Request) (map[string]float64, error) {
	url := s.o.Ratings + "/ratings/" + r.PathValue("id")
	got, err := service.Get(r.Context(), s.o.Client, url, r.Header, s.stars.timeout)
	if err != nil {
		return nil, err
	}
	if got.Status != http.StatusOK {
		return nil, fmt.Errorf("ratings answered %d", got.Status)
	}
	var body struct {
		Ratings map[string]float64 `json:"ratings"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		return nil, fmt.Errorf("ratings answered no JSON: %w", err)
	}
	return body.Ratings, nil
}
