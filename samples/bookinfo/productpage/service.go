package productpage

import (
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

//go:embed page.html index.html style.css
var assets embed.FS

// Options set up a Service.
type Options struct {
	Details, Reviews, Ratings string        // base URLs
	Pod                       string        // name of this instance
	Timeout                   time.Duration // of one call, default 3 s
	Client                    *http.Client  // default service.NewClient
	Logger                    *slog.Logger
}

// attempts of reviews; the other services are asked once.
const attempts = 2

// Service answers for the page.
type Service struct {
	o       Options
	key     []byte // signs sessions; another instance's sessions are not ours
	pages   *template.Template
	metrics metrics
}

// New returns the service.
func New(o Options) (*Service, error) {
	for _, p := range []struct{ name, url string }{
		{"DETAILS_HOSTNAME", o.Details}, {"REVIEWS_HOSTNAME", o.Reviews}, {"RATINGS_HOSTNAME", o.Ratings},
	} {
		if p.url == "" {
			return nil, fmt.Errorf("address of a service is missing; set %s", p.name)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Client == nil {
		o.Client = service.NewClient()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	css, err := assets.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("embedded style: %w", err)
	}
	pages, err := template.New("").Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(css) }, // ours, embedded
		"stars": starRow,
	}).ParseFS(assets, "page.html", "index.html")
	if err != nil {
		return nil, fmt.Errorf("embedded page: %w", err)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	return &Service{o: o, key: key, pages: pages}, nil
}

// Handler serves the endpoints.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /productpage", s.page)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /logout", s.logout)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("Product page is healthy"))
	})
	mux.HandleFunc("GET /metrics", s.metrics.serve)
	mux.HandleFunc("GET /api/v1/products", s.products)
	mux.HandleFunc("GET /api/v1/products/{id}", s.product)
	mux.HandleFunc("GET /api/v1/products/{id}/reviews", s.productReviews)
	mux.HandleFunc("GET /api/v1/products/{id}/ratings", s.productRatings)
	return mux
}
