package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// The categories of check, in order.
const (
	categoryCLI     = "weft-cli"
	categoryHost    = "weft-host"
	categoryControl = "weft-control-plane"
	categoryData    = "weft-data-plane"
)

const (
	statusOK      = adminv1.CheckResult_STATUS_OK
	statusWarning = adminv1.CheckResult_STATUS_WARNING
	statusError   = adminv1.CheckResult_STATUS_ERROR
)

func (a *App) checkCommand() *cobra.Command {
	var output choice
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check this program, this host, the control plane and the proxies",
		Long: text(`
			Check looks for what commonly goes wrong and names, for each finding, the part of
			docs/troubleshooting.md that tells what to do. Warnings do not fail it. The exit status is 1 when a
			check failed.`),
		Example: "  weft check\n  weft check -o json",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			results := a.checks(cmd.Context(), client)
			if output.value != "table" {
				if err := a.printProto(&adminv1.CheckResponse{Results: results}, output.value); err != nil {
					return err
				}
			} else {
				a.printChecks(results)
			}
			for _, r := range results {
				if r.GetStatus() == statusError {
					return &Error{Code: ExitNo}
				}
			}
			return nil
		}),
	}
	addOutput(cmd, &output, "table", "json", "yaml")
	return cmd
}

// findings collects the results of one category.
type findings struct {
	category string
	results  []*adminv1.CheckResult
}

func (f *findings) add(status adminv1.CheckResult_Status, anchor, description, detail string) {
	f.results = append(f.results, &adminv1.CheckResult{
		Category: f.category, Description: description, Anchor: anchor, Status: status, Detail: detail,
	})
}

// checks runs all of them; without a control plane those that need it are left out.
func (a *App) checks(ctx context.Context, client adminv1connect.AdminServiceClient) []*adminv1.CheckResult {
	own := &findings{category: categoryCLI}
	version, err := call(ctx, a, client.Version, &adminv1.VersionRequest{})
	own.add(statusOK, "cli-version", "can tell its version: "+a.o.Version, "")
	if err != nil {
		_, why := a.explainError(ctx, err)
		own.add(statusError, "cli-socket", "control plane is reachable", why)
	} else {
		own.add(statusOK, "cli-socket", "control plane is reachable", "")
		if version.GetVersion() == a.o.Version {
			own.add(statusOK, "cli-version", "has the control plane's version", "")
		} else {
			own.add(statusWarning, "cli-version", "has the control plane's version",
				fmt.Sprintf("this is %s, the control plane %s", a.o.Version, version.GetVersion()))
		}
	}
	host := &findings{category: categoryHost}
	h := hostOf("/", a.o.Capture)
	h.check(host)
	results := append(own.results, host.results...)
	if err != nil {
		return results
	}
	control := &findings{category: categoryControl}
	if res, err := call(ctx, a, client.Check, &adminv1.CheckRequest{}); err != nil {
		_, why := a.explainError(ctx, err)
		control.add(statusError, "control-plane-checks", "can run its own checks", why)
	} else {
		control.results = res.GetResults()
	}
	data := &findings{category: categoryData}
	if res, err := call(ctx, a, client.ListProxies, &adminv1.ListProxiesRequest{}); err != nil {
		_, why := a.explainError(ctx, err)
		data.add(statusError, "control-plane-checks", "can list the proxies", why)
	} else {
		checkProxies(data, res.GetProxies(), version.GetVersion(), a.o.Now())
	}
	return append(append(results, control.results...), data.results...)
}

// certificateMargin is when a certificate that was not renewed is worth a warning: well after half of its
// life, when renewal began, and before connections fail.
const certificateMargin = 10 * time.Minute

func checkProxies(f *findings, proxies []*adminv1.ProxyInfo, version string, now time.Time) {
	if len(proxies) == 0 {
		f.add(statusWarning, "data-plane-connected", "proxies are connected", "none is; start a program with `weft run`")
		return
	}
	f.add(statusOK, "data-plane-connected", plural(len(proxies), "proxy")+" connected", "")
	var versions, refused, behind, expired, expiring []string
	for _, p := range proxies {
		id := p.GetNode().GetId()
		if p.GetNode().GetVersion() != version {
			versions = append(versions, id+" is "+orDash(p.GetNode().GetVersion()))
		}
		switch {
		case p.GetNack() != "":
			refused = append(refused, id+": "+p.GetNack())
		case p.GetAckedRevision() < p.GetSentRevision():
			behind = append(behind, fmt.Sprintf("%s runs %d of %d", id, p.GetAckedRevision(), p.GetSentRevision()))
		}
		if t := p.GetStats().GetSvidNotAfter(); t != nil {
			switch left := t.AsTime().Sub(now); {
			case left <= 0:
				expired = append(expired, id)
			case left < certificateMargin:
				expiring = append(expiring, id+" in "+span(left))
			}
		}
	}
	f.judge(statusWarning, "data-plane-version", "proxies have the control plane's version", versions)
	f.judge(statusError, "data-plane-refused", "proxies accepted their configuration", refused)
	f.judge(statusWarning, "data-plane-current", "proxies run the current revision", behind)
	f.judge(statusError, "data-plane-certificate", "proxies have valid certificates", expired)
	f.judge(statusWarning, "data-plane-certificate", "proxies renew their certificates in time", expiring)
}

// judge adds a result that holds when nothing speaks against it. The list is cut short: a mesh may have
// thousands of proxies with the same trouble.
func (f *findings) judge(bad adminv1.CheckResult_Status, anchor, description string, against []string) {
	if len(against) == 0 {
		f.add(statusOK, anchor, description, "")
		return
	}
	detail := against
	if len(detail) > 5 {
		detail = append(detail[:5:5], fmt.Sprintf("and %d more", len(against)-5))
	}
	f.add(bad, anchor, description, strings.Join(detail, "; "))
}

// printChecks writes results as linkerd's check does.
func (a *App) printChecks(results []*adminv1.CheckResult) {
	m := a.marks()
	category := ""
	failed := 0
	for _, r := range results {
		if r.GetCategory() != category {
			if category != "" {
				a.printf("\n")
			}
			category = r.GetCategory()
			a.printf("%s\n%s\n", word(category), strings.Repeat("-", len(category)))
		}
		mark := m.ok
		switch r.GetStatus() {
		case statusWarning:
			mark = m.warn
		case statusOK:
		default:
			mark = m.no
			failed++
		}
		a.printf("%s %s\n", mark, word(r.GetDescription()))
		if mark == m.ok {
			continue
		}
		if r.GetDetail() != "" {
			a.printf("    %s\n", word(r.GetDetail()))
		}
		if r.GetAnchor() != "" {
			a.printf("    see docs/troubleshooting.md#%s for hints\n", word(r.GetAnchor()))
		}
	}
	sum := m.ok
	if failed > 0 {
		sum = m.no
	}
	a.printf("\nStatus check results are %s\n", sum)
}
