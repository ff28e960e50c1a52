package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/samples/bookinfo/details"
	"github.com/weft-mesh/weft/samples/bookinfo/productpage"
	"github.com/weft-mesh/weft/samples/bookinfo/ratings"
	"github.com/weft-mesh/weft/samples/bookinfo/reviews"
	"github.com/weft-mesh/weft/samples/bookinfo/service"
)

const usage = `bookinfo: the BookInfo sample, all of its programs in one binary

usage: bookinfo productpage|details|reviews|ratings [flags]

Where the others are is said by DETAILS_HOSTNAME, REVIEWS_HOSTNAME and RATINGS_HOSTNAME (host[:port], by
default the service's name and port 9080), or by flags. "bookinfo PROGRAM -h" lists them.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// errUsage marks errors of the command line; their text has been printed.
var errUsage = errors.New("usage")

// run is main without the process: it returns the exit status.
func run(ctx context.Context, args []string, env func(string) string, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	s := settings{env: env, flags: flag.NewFlagSet("bookinfo "+args[0], flag.ContinueOnError)}
	s.log = slog.New(slog.NewTextHandler(stderr, nil)).With("program", args[0])
	s.flags.SetOutput(stderr)
	s.flags.StringVar(&s.listen, "listen", "127.0.0.1:9080", "`HOST:PORT` to listen on; port 0 takes a free one")
	host, _ := os.Hostname() // without a name the page says so
	s.flags.StringVar(&s.pod, "pod", cmp.Or(env("POD_NAME"), env("HOSTNAME"), host), "`NAME` of this instance, shown on the page")

	build, ok := programs()[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "bookinfo: unknown program %q; known are productpage, details, reviews, ratings\n", args[0])
		return 2
	}
	h, err := build(&s, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case err == nil:
		err = service.Serve(ctx, s.listen, h, s.log)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bookinfo %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// settings are what all programs take.
type settings struct {
	flags       *flag.FlagSet
	env         func(string) string
	log         *slog.Logger
	listen, pod string
}

// peer adds the flag and default for the address of another service.
func (s *settings) peer(name, variable string) *string {
	return s.flags.String(name, cmp.Or(s.env(variable), name), "`HOST[:PORT]` of "+name+" ("+variable+")")
}

func (s *settings) parse(args []string) error {
	if err := s.flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // the flag set has said it
	}
	if s.flags.NArg() > 0 {
		fmt.Fprintf(s.flags.Output(), "%s: unexpected argument %q\n", s.flags.Name(), s.flags.Arg(0))
		return errUsage
	}
	return nil
}

func programs() map[string]func(*settings, []string) (http.Handler, error) {
	return map[string]func(*settings, []string) (http.Handler, error){
		"productpage": newProductpage, "details": newDetails, "reviews": newReviews, "ratings": newRatings,
	}
}

func newDetails(s *settings, args []string) (http.Handler, error) {
	return details.New(), s.parse(args)
}

func newRatings(s *settings, args []string) (http.Handler, error) {
	variant := s.flags.String("variant", s.env("SERVICE_VARIANT"), "`NAME` of a way to fail: healthy, faulty, delayed, unavailable")
	delay := s.flags.Duration("delay", 7*time.Second, "how long half of the requests take in the variant delayed")
	toggle := s.flags.Duration("toggle", time.Minute, "how long the variant unavailable is good, and then is not")
	if err := s.parse(args); err != nil {
		return nil, err
	}
	r, err := ratings.New(ratings.Options{Variant: ratings.Variant(*variant), Delay: *delay, Toggle: *toggle})
	if err != nil {
		return nil, err
	}
	return r.Handler(), nil
}

func newReviews(s *settings, args []string) (http.Handler, error) {
	version := s.flags.String("version", cmp.Or(s.env("SERVICE_VERSION"), "v1"), "v1 (no stars), v2 (black), v3 (red)")
	peer := s.peer("ratings", "RATINGS_HOSTNAME")
	if err := s.parse(args); err != nil {
		return nil, err
	}
	r, err := reviews.New(reviews.Options{
		Version: *version, Ratings: service.BaseURL(*peer), Pod: s.pod, Cluster: s.env("CLUSTER_NAME"), Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	return r.Handler(), nil
}

func newProductpage(s *settings, args []string) (http.Handler, error) {
	d, rv, rt := s.peer("details", "DETAILS_HOSTNAME"), s.peer("reviews", "REVIEWS_HOSTNAME"), s.peer("ratings", "RATINGS_HOSTNAME")
	if err := s.parse(args); err != nil {
		return nil, err
	}
	p, err := productpage.New(productpage.Options{
		Details: service.BaseURL(*d), Reviews: service.BaseURL(*rv), Ratings: service.BaseURL(*rt), Pod: s.pod, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	return p.Handler(), nil
}
