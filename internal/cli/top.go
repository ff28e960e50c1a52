package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

type topFlags struct {
	tap      tapFlags
	once     bool
	interval time.Duration
}

func (a *App) topCommand() *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top [[svc/]SERVICE]",
		Short: "Watch the live requests, summed up by source, destination, method and path",
		Long: text(`
			Top taps live requests and sums them up. On a terminal it redraws in place: q ends it, c clears.
			Elsewhere it prints the table at each interval; --once prints it after the first and ends. At most
			1,000 rows are kept. It sees what --max-rps lets through, so Count is of the requests seen.`),
		Example:           "  weft top\n  weft top productpage --to reviews\n  weft top --once --interval 5s -o json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if f.interval < 100*time.Millisecond {
				return fail(ExitUsage, "--interval %s: want 100ms or more", f.interval)
			}
			req, err := f.tap.request(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if a.o.Terminal && !f.once && f.tap.output.value == "table" {
				return a.topLive(cmd.Context(), client, req, &f)
			}
			return a.topPlain(cmd.Context(), client, req, &f)
		}),
	}
	a.addTapFlags(cmd, &f.tap)
	cmd.Flags().BoolVar(&f.once, "once", false, "print one table after --interval and end")
	cmd.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "time between redraws")
	addOutput(cmd, &f.tap.output, "table", "json")
	return cmd
}

// stream taps into events until ctx ends. The caller reads events until stream returns.
func (a *App) stream(ctx context.Context, client adminv1connect.AdminServiceClient, req *adminv1.TapRequest, events chan<- *discoveryv1.TapEvent) error {
	return a.follow(ctx, client, req, func(e *discoveryv1.TapEvent) error {
		select {
		case events <- e:
			return nil
		case <-ctx.Done():
			return nil
		}
	})
}

// topPlain prints the table at each interval.
func (a *App) topPlain(ctx context.Context, client adminv1connect.AdminServiceClient, req *adminv1.TapRequest, f *topFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	events := make(chan *discoveryv1.TapEvent, 256)
	group.Go(func() error { return a.stream(ctx, client, req, events) })
	group.Go(func() error {
		tick := time.NewTicker(f.interval)
		defer tick.Stop()
		data := newTopData(f.tap.scope)
		for {
			select {
			case <-ctx.Done():
				return nil
			case e := <-events:
				data.add(e)
			case <-tick.C:
				if err := a.printTop(data, f.tap.output.value); err != nil {
					return err
				}
				if f.once {
					cancel()
					return nil
				}
			}
		}
	})
	return group.Wait()
}

// topLine is a row as -o json writes it.
type topLine struct {
	Source      string  `json:"source"`
	Destination string  `json:"destination"`
	Method      string  `json:"method"`
	Path        string  `json:"path"`
	Count       uint64  `json:"count"`
	Best        float64 `json:"best_ms"`
	Worst       float64 `json:"worst_ms"`
	Last        float64 `json:"last_ms"`
	SuccessRate float64 `json:"success_rate"`
}

func (a *App) printTop(data *topData, format string) error {
	if format != "json" {
		if err := data.table(0).write(a.out); err != nil {
			return err
		}
		a.printf("\n")
		return a.outputFailed()
	}
	lines := []topLine{}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	for _, r := range data.sorted() {
		lines = append(lines, topLine{
			r.source, r.destination, r.method, r.path, r.count,
			ms(r.best), ms(r.worst), ms(r.last), float64(r.success) / float64(r.count),
		})
	}
	return a.printValue(lines, "json")
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
