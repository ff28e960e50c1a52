package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is a flag with a fixed set of values.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }

func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}

// addChoice adds a flag whose first allowed value is its default.
func addChoice(cmd *cobra.Command, c *choice, name, short, usage string, allowed ...string) {
	c.value, c.allowed = allowed[0], allowed
	cmd.Flags().VarP(c, name, short, usage)
	// Fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
}

func addOutput(cmd *cobra.Command, c *choice, allowed ...string) {
	addChoice(cmd, c, "output", "o", "format of the output", allowed...)
}

// scope is the namespaces a command is about.
type scope struct {
	namespace string
	all       bool
}

func (a *App) addNamespace(cmd *cobra.Command, s *scope, all bool) {
	cmd.Flags().StringVarP(&s.namespace, "namespace", "n", "default", "`NAMESPACE` to look in")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.completeNamespaces)
	if all {
		cmd.Flags().BoolVarP(&s.all, "all-namespaces", "A", false, "all namespaces")
		cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	}
}

// filter is the namespace to ask the control plane for: "" is all.
func (s scope) filter() string {
	if s.all {
		return ""
	}
	return s.namespace
}

// short returns "name" for NAMESPACE/NAME within the scope, the whole otherwise.
func (s scope) short(name string) string {
	if rest, ok := strings.CutPrefix(name, s.namespace+"/"); ok && !s.all {
		return rest
	}
	return name
}

// full returns NAMESPACE/NAME for "name", "name.namespace" or "namespace/name".
func (s scope) full(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	if n, ns, ok := strings.Cut(name, "."); ok {
		return ns + "/" + n
	}
	return s.namespace + "/" + name
}

// service reads SERVICE, svc/SERVICE or NAMESPACE/SERVICE; "" for a kind alone. Linkerd's users name
// resources by kind, Weft's telemetry knows services.
func (s scope) service(arg string) (string, error) {
	kind, name, slash := strings.Cut(arg, "/")
	switch strings.ToLower(kind) {
	case "svc", "service", "services":
		if name == "" {
			return "", nil
		}
		return s.full(name), nil
	case "deploy", "deployment", "deployments", "po", "pod", "pods", "ns", "namespace", "namespaces", "sts", "ds", "job":
		return "", fail(ExitUsage, "%q: traffic is known by service: name one, as reviews or svc/reviews", clean(arg))
	}
	if slash && (kind == "" || name == "" || strings.Contains(name, "/")) {
		return "", fail(ExitUsage, "%q is not SERVICE, svc/SERVICE or NAMESPACE/SERVICE", clean(arg))
	}
	return s.full(arg), nil
}
