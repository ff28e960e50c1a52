package ratings

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

// Variant says how the service misbehaves.
type Variant string

// The variants of the original.
const (
	Healthy     Variant = "healthy"
	Faulty      Variant = "faulty"      // half of the requests are answered 503
	Delayed     Variant = "delayed"     // half of the requests take Options.Delay longer
	Unavailable Variant = "unavailable" // every Options.Toggle it turns from good to 503 and back
)

// Options set up a Service. The zero value is healthy.
type Options struct {
	Variant Variant
	Delay   time.Duration  // of Delayed, default 7 s
	Toggle  time.Duration  // of Unavailable, default 60 s
	Chance  func() float64 // from [0, 1), default math/rand
}

// Bounds of what clients may post.
const (
	maxBooks     = 1000
	maxReviewers = 100
	maxPost      = 16 << 10
)

// Service answers for ratings.
type Service struct {
	o     Options
	start time.Time

	mu     sync.Mutex
	posted map[int]map[string]float64
}

// New returns the service, or an error for a variant it does not know.
func New(o Options) (*Service, error) {
	switch o.Variant {
	case "":
		o.Variant = Healthy
	case Healthy, Faulty, Delayed, Unavailable:
	default:
		return nil, fmt.Errorf("unknown variant %q; known are healthy, faulty, delayed, unavailable", o.Variant)
	}
	if o.Delay == 0 {
		o.Delay = 7 * time.Second
	}
	if o.Toggle == 0 {
		o.Toggle = time.Minute
	}
	if o.Chance == nil {
		o.Chance = rand.Float64
	}
	return &Service{o: o, start: time.Now(), posted: map[int]map[string]float64{}}, nil
}

// Handler serves the endpoints.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", service.Health("Ratings"))
	mux.HandleFunc("GET /ratings/{id}", s.get)
	mux.HandleFunc("POST /ratings/{id}", s.post)
	return mux
}

type answer struct {
	ID      int                `json:"id"`
	Ratings map[string]float64 `json:"ratings"`
}

func (s *Service) get(w http.ResponseWriter, r *http.Request) {
	id, ok := service.ProductID(r)
	if !ok {
		service.Error(w, http.StatusBadRequest, "please provide numeric product ID")
		return
	}
	if !s.behave(r) {
		service.Error(w, http.StatusServiceUnavailable, "Service unavailable")
		return
	}
	service.JSON(w, http.StatusOK, answer{ID: id, Ratings: s.ratings(id)})
}

// behave applies the variant and reports whether the request is to be answered well.
func (s *Service) behave(r *http.Request) bool {
	switch s.o.Variant {
	case Faulty:
		return s.o.Chance() >= 0.5
	case Unavailable:
		return time.Since(s.start)/s.o.Toggle%2 == 0
	case Delayed:
		if s.o.Chance() < 0.5 {
			t := time.NewTimer(s.o.Delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-r.Context().Done():
			}
		}
	}
	return true
}

func (s *Service) ratings(id int) map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.posted[id]; ok {
		return m // replaced as a whole by post, never changed
	}
	return map[string]float64{"Reviewer1": 5, "Reviewer2": 4}
}

func (s *Service) post(w http.ResponseWriter, r *http.Request) {
	id, ok := service.ProductID(r)
	if !ok {
		service.Error(w, http.StatusBadRequest, "please provide numeric product ID")
		return
	}
	var m map[string]float64
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPost)).Decode(&m); err != nil || m == nil {
		service.Error(w, http.StatusBadRequest, "please provide valid ratings JSON")
		return
	}
	if err := s.keep(id, m); err != nil {
		service.Error(w, http.StatusInsufficientStorage, err.Error())
		return
	}
	service.JSON(w, http.StatusOK, answer{ID: id, Ratings: m})
}

func (s *Service) keep(id int, m map[string]float64) error {
	if len(m) > maxReviewers {
		return fmt.Errorf("at most %d reviewers can rate a book here", maxReviewers)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.posted[id]; !known && len(s.posted) >= maxBooks {
		return errors.New("too many books have ratings of their own")
	}
	s.posted[id] = m
	return nil
}
