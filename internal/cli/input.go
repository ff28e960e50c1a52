package cli

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

const (
	maxInput = 8 << 20 // bytes of all documents of one command
	maxFiles = 10_000
)

// input is where documents come from.
type input struct {
	files     []string
	recursive bool
}

func (in *input) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&in.files, "filename", "f", nil, "`FILE`, DIR (its .yaml, .yml and .json files) or - for standard input; may be repeated")
	cmd.Flags().BoolVarP(&in.recursive, "recursive", "R", false, "descend into directories below DIR")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
}

// read returns the documents, in the order given, files of a directory by name. The whole is bounded by
// 8 MiB; what is no text is refused with the place of the first bad byte.
func (in *input) read(stdin io.Reader) ([]*adminv1.Document, error) {
	if len(in.files) == 0 {
		return nil, fail(ExitUsage, "no documents: name a file or directory by -f, or - for standard input")
	}
	paths, err := in.paths()
	if err != nil {
		return nil, err
	}
	var docs []*adminv1.Document
	left := int64(maxInput)
	for _, path := range paths {
		b, err := readDocument(path, stdin, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(b))
		name := path
		if path == "-" {
			name = "stdin"
		}
		if err := checkText(name, b); err != nil {
			return nil, err
		}
		docs = append(docs, &adminv1.Document{File: name, Text: string(b)})
	}
	return docs, nil
}

// paths expands directories.
func (in *input) paths() ([]string, error) {
	var paths []string
	if i := slices.Index(in.files, "-"); i >= 0 && slices.Contains(in.files[i+1:], "-") {
		return nil, fail(ExitUsage, "standard input can be read once: -f - is given twice")
	}
	for _, f := range in.files {
		info, err := os.Stat(f)
		switch {
		case f == "-":
			paths = append(paths, f)
		case err != nil:
			return nil, fail(ExitIO, "reading documents: %w", err)
		case info.IsDir():
			found, err := in.walk(f)
			if err != nil {
				return nil, err
			}
			paths = append(paths, found...)
		default:
			paths = append(paths, f)
		}
		if len(paths) > maxFiles {
			return nil, fail(ExitData, "%s: more than %d files; apply it in parts", f, maxFiles)
		}
	}
	return paths, nil
}

func (in *input) walk(dir string) ([]string, error) {
	var found []string
	deeper := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && !in.recursive:
			deeper = true
			return fs.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fail(ExitIO, "reading documents: %w", err)
	}
	if len(found) == 0 {
		hint := ""
		if deeper {
			hint = "; -R descends into the directories below"
		}
		return nil, fail(ExitData, "%s has no .yaml, .yml or .json file%s", dir, hint)
	}
	return found, nil
}

// readDocument reads at most left bytes, so that a huge file or an endless pipe costs no more than that.
func readDocument(path string, stdin io.Reader, left int64) ([]byte, error) {
	r, name := stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fail(ExitIO, "reading documents: %w", err)
		}
		defer f.Close()
		r, name = f, path
	}
	b, err := io.ReadAll(io.LimitReader(r, left+1))
	if err != nil {
		return nil, fail(ExitIO, "reading %s: %w", name, err)
	}
	if int64(len(b)) > left {
		return nil, &problemsError{[]*adminv1.Problem{{
			File:    name,
			Message: fmt.Sprintf("documents of one command exceed %d MiB", maxInput>>20),
			Remedy:  "apply them in parts, or check that this is the file you meant",
		}}}
	}
	return b, nil
}

// checkText refuses what is no UTF-8 text: protobuf would refuse it too, without saying where.
func checkText(name string, b []byte) error {
	at := bytes.IndexByte(b, 0)
	what := "a NUL byte"
	if at < 0 && !utf8.Valid(b) {
		what = "no valid UTF-8"
		for at = 0; at < len(b); {
			r, n := utf8.DecodeRune(b[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
	}
	if at < 0 {
		return nil
	}
	before := string(b[:at])
	start := strings.LastIndexByte(before, '\n') + 1
	return &problemsError{[]*adminv1.Problem{{
		File:    name,
		Line:    int32(strings.Count(before, "\n") + 1),
		Column:  int32(utf8.RuneCountInString(before[start:]) + 1),
		Message: fmt.Sprintf("byte %d is %s: this is a binary file or one of another encoding", at, what),
		Remedy:  "give YAML or JSON as UTF-8 text",
	}}}
}
