package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"sigs.k8s.io/yaml"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

// clean makes text of others safe for a terminal: control and invisible characters, but for tab and
// newline, are written as escapes.
func clean(s string) string {
	safe := func(r rune) bool { return r == '\n' || r == '\t' || unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if safe(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// word is clean for one field of a line.
func word(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(clean(s))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// plural returns "1 problem" or "3 problems".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// place returns "file:line:column" as far as known.
func place(file string, line, column int32) string {
	s := file
	if line > 0 {
		s += fmt.Sprintf(":%d", line)
		if column > 0 {
			s += fmt.Sprintf(":%d", column)
		}
	}
	return s
}

// problemLine returns "FILE:LINE:COLUMN: FIELD: MESSAGE; REMEDY".
func problemLine(p *adminv1.Problem) string {
	var b strings.Builder
	for _, part := range []string{place(p.GetFile(), p.GetLine(), p.GetColumn()), p.GetField()} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(p.GetMessage())
	if r := p.GetRemedy(); r != "" {
		b.WriteString("; " + r)
	}
	return word(b.String())
}

// latency returns seconds with the unit that keeps two digits or more, "-" without data.
func latency(seconds float64) string {
	ms := seconds * 1000
	switch {
	case math.IsNaN(ms) || ms < 0:
		return "-"
	case ms < 1:
		return fmt.Sprintf("%.2fms", ms)
	case ms < 10:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.2fs", seconds)
}

func percent(rate float64) string {
	if math.IsNaN(rate) {
		return "-"
	}
	return fmt.Sprintf("%.2f%%", rate*100)
}

func perSecond(v float64) string { return fmt.Sprintf("%.1frps", v) }

func bytesPerSecond(v float64) string { return fmt.Sprintf("%.1fB/s", v) }

func byteSize(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1fKiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%dB", n)
}

// age returns the time since t as kubectl writes it: 45s, 12m, 5h, 3d.
func (a *App) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return span(a.o.Now().Sub(t.AsTime()))
}

func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// protoJSON returns m as JSON, indented; the encoder's own spacing is deliberately unstable.
func protoJSON(m proto.Message, indent bool) ([]byte, error) {
	raw, err := protojson.MarshalOptions{EmitUnpopulated: false}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	var b bytes.Buffer
	if indent {
		err = json.Indent(&b, raw, "", "  ")
	} else {
		err = json.Compact(&b, raw)
	}
	return b.Bytes(), err
}

// printProto writes a message as JSON or YAML.
func (a *App) printProto(m proto.Message, format string) error {
	b, err := protoJSON(m, true)
	if err != nil {
		return err
	}
	return a.printJSON(b, format)
}

// printValue writes a value as JSON or YAML.
func (a *App) printValue(v any, format string) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return a.printJSON(b, format)
}

func (a *App) printJSON(b []byte, format string) error {
	if format == "yaml" {
		y, err := yaml.JSONToYAML(b)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		_, err = a.out.Write(y)
		return err
	}
	_, err := fmt.Fprintf(a.out, "%s\n", b)
	return err
}

func (a *App) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// note writes a remark to Stderr, so that it never gets into what a script reads.
func (a *App) note(format string, args ...any) {
	fmt.Fprintf(a.o.Stderr, format+"\n", args...)
}

var _ io.Writer = (*stickyWriter)(nil)
