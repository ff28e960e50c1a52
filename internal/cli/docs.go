package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteDocs writes the reference of all commands as Markdown: docs/cli.md.
func (a *App) WriteDocs(w io.Writer) error {
	root := a.Command()
	root.InitDefaultHelpCmd()
	var b strings.Builder
	b.WriteString("# The weft command line\n\nMade from the commands themselves by `go test ./internal/cli -run TestDocs -update`; do not edit.\n\n")
	b.WriteString(root.Long + "\n\n## Flags of every command\n\n")
	writeFlags(&b, root.PersistentFlags())
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() {
				writeCommand(&b, c)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n%s.\n\n```\n%s\n```\n\n%s\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."), c.UseLine(), c.Long)
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", text(strings.ReplaceAll("\n"+c.Example, "\n  ", "\n")))
	}
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		b.WriteString("\n")
		writeFlags(b, c.LocalNonPersistentFlags())
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			writeCommand(b, sub)
		}
	}
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning | default |\n| --- | --- | --- |\n")
	cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + cell(kind)
		}
		def := f.DefValue
		if def == "[]" || def == "false" {
			def = ""
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, cell(usage), cell(def))
	})
}
