package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

type explainFlags struct {
	scope   scope
	id      string
	from    string
	method  string
	path    string
	headers []string
	gateway string
	output  choice
}

func (a *App) explainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain (SERVICE[.NAMESPACE][:PORT] | --id ID | --gateway NAMESPACE/NAME [METHOD] URL)",
		Short: "Say which rule and backend a request gets, and why not the others",
		Long: text(`
			Explain runs the proxies' own decision for a request that happened (--id, as tap prints it; the
			control plane remembers the last 10,000) or for one that might (SERVICE with --from, --method, --path
			and --header). Each step names what was chosen and what was not, the reason, and the file and line it
			was written in. With a client (--from, or a request that happened) its proxies are asked which
			endpoints they leave out at the moment, why and until when, and what is left of the retry budgets.

			With --gateway it is a request from outside: which listener of the gateway takes it, which rule, what
			the rule does, which backend, and what the gateway's proxies leave out. URL may also be tcp://HOST:PORT,
			tls://HOST[:PORT] or udp://HOST:PORT. An egress gateway is asked for what programs of the mesh send through it.
			The exit status is 1 when the service or the id is not known.`),
		Example:           "  weft explain reviews --from productpage --header end-user=jason --path /reviews/0\n  weft explain --id 4bf92f3577b34da6\n  weft explain ratings.default:9080 -o json\n  weft explain --gateway default/edge GET https://shop.example.com/cart",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			req, err := f.request(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			res, err := call(cmd.Context(), a, client.Explain, req)
			if err != nil {
				return err
			}
			if f.output.value != "text" {
				return a.printProto(res, f.output.value)
			}
			a.printExplanation(res)
			return nil
		}),
	}
	a.addNamespace(cmd, &f.scope, false)
	cmd.Flags().StringVar(&f.id, "id", "", "a request that happened, by the `ID` that tap printed")
	cmd.Flags().StringVar(&f.from, "from", "", "the calling `SERVICE`, whose proxy decides (default any)")
	cmd.Flags().StringVarP(&f.method, "method", "X", "GET", "`METHOD` of the request")
	cmd.Flags().StringVar(&f.path, "path", "/", "`PATH` and query of the request")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "`NAME=VALUE` or NAME: VALUE; may be repeated")
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "explain a request from outside at the gateway `NAMESPACE/NAME`: METHOD URL")
	_ = cmd.RegisterFlagCompletionFunc("from", a.completeServices)
	addOutput(cmd, &f.output, "text", "json", "yaml")
	return cmd
}

func (f *explainFlags) request(args []string) (*adminv1.ExplainRequest, error) {
	if f.gateway != "" {
		return f.atGateway(args)
	}
	if len(args) > 1 {
		return nil, fail(ExitUsage, "explain wants one SERVICE; METHOD and URL are for --gateway")
	}
	if (f.id != "") == (len(args) > 0) {
		return nil, fail(ExitUsage, "explain wants either a SERVICE or --id")
	}
	if f.id != "" {
		return &adminv1.ExplainRequest{RequestId: f.id}, nil
	}
	if !strings.HasPrefix(f.path, "/") && f.path != "*" {
		return nil, fail(ExitUsage, "--path %q: must begin with /", clean(f.path))
	}
	req := &adminv1.ExplainRequest{To: f.target(args[0]), Method: f.method, Path: f.path}
	if f.from != "" {
		from, err := f.scope.service(f.from)
		if err != nil {
			return nil, err
		}
		req.From = from
	}
	return req, f.addHeaders(req)
}

// atGateway is a request for what a gateway does.
func (f *explainFlags) atGateway(args []string) (*adminv1.ExplainRequest, error) {
	if f.id != "" || f.from != "" || len(args) == 0 {
		return nil, fail(ExitUsage, "explain --gateway wants [METHOD] URL, and neither --id nor --from")
	}
	req := &adminv1.ExplainRequest{Gateway: f.gateway, Method: f.method, Url: args[len(args)-1]}
	if len(args) == 2 {
		req.Method = strings.ToUpper(args[0])
	}
	if !strings.Contains(req.Gateway, "/") {
		req.Gateway = f.scope.namespace + "/" + req.Gateway
	}
	if f.path != "/" {
		return nil, fail(ExitUsage, "--path is for a SERVICE: write the path in the URL")
	}
	return req, f.addHeaders(req)
}

func (f *explainFlags) addHeaders(req *adminv1.ExplainRequest) error {
	for _, h := range f.headers {
		at := strings.IndexAny(h, "=:")
		if at <= 0 {
			return fail(ExitUsage, "--header %q: want NAME=VALUE or NAME: VALUE", clean(h))
		}
		req.Headers = append(req.Headers, &discoveryv1.HeaderValue{
			Name: strings.ToLower(strings.TrimSpace(h[:at])), Value: strings.TrimSpace(h[at+1:]),
		})
	}
	return nil
}

// target returns SERVICE.NAMESPACE[:PORT] for any way to name a service.
func (f *explainFlags) target(arg string) string {
	arg = strings.TrimPrefix(strings.TrimPrefix(arg, "svc/"), "service/")
	name, port, hasPort := strings.Cut(arg, ":")
	if ns, n, ok := strings.Cut(name, "/"); ok {
		name = n + "." + ns
	}
	if !strings.Contains(name, ".") {
		name += "." + f.scope.namespace
	}
	if hasPort {
		name += ":" + port
	}
	return name
}

// printExplanation writes the steps as a tree: a stage, and under it what was looked at.
func (a *App) printExplanation(e *adminv1.ExplainResponse) {
	a.printf("%s\n", orDash(word(e.GetRequest())))
	by := fmt.Sprintf("revision %d", e.GetRevision())
	if e.GetProxy() != "" {
		by = "proxy " + word(e.GetProxy()) + ", " + by
	}
	a.printf("decided by %s\n\n", by)
	tree, m := a.branches(), a.marks()
	steps := e.GetSteps()
	for i := 0; i < len(steps); {
		end := i
		for end < len(steps) && steps[end].GetStage() == steps[i].GetStage() {
			end++
		}
		a.printf("%s %s\n", tree.fork, word(steps[i].GetStage()))
		for j, s := range steps[i:end] {
			branch := tree.fork
			if i+j == end-1 {
				branch = tree.last
			}
			mark := m.no
			if s.GetChosen() {
				mark = m.ok
			}
			a.printf("%s  %s %s %s\n", tree.line, branch, mark, stepText(s))
		}
		i = end
	}
	a.printf("%s %s\n", tree.last, orDash(word(e.GetOutcome())))
}

func stepText(s *adminv1.ExplainStep) string {
	text := s.GetSubject()
	if r := s.GetReason(); r != "" {
		text += ": " + r
	}
	if at := place(s.GetFile(), s.GetLine(), 0); at != "" && !strings.Contains(text, at) {
		text += " (" + at + ")"
	}
	return word(text)
}

type branches struct{ fork, last, line string }

func (a *App) branches() branches {
	if a.fancy() {
		return branches{"├─", "└─", "│"}
	}
	return branches{"|-", "`-", "|"}
}
