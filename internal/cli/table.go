package cli

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap is the space between columns, that of kubectl and linkerd.
const gap = "   "

// table lays out rows in columns of even width.
type table struct {
	header []string
	right  []bool // aligned to the right: numbers
	rows   [][]string
}

// newTable returns a table of these columns; a name that begins with ">" is aligned to the right.
func newTable(columns ...string) *table {
	t := &table{}
	for _, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		t.header = append(t.header, name)
		t.right = append(t.right, right)
	}
	return t
}

// add appends a row. Cells beyond the columns are dropped, so that a narrow table may share rows with a
// wide one.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.header))
	for i := range row {
		if i < len(cells) {
			row[i] = word(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// String returns the table, each line ended by a newline.
func (t *table) String() string {
	width := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range append([][]string{t.header}, t.rows...) {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString(gap)
			}
			if t.right[i] {
				line.WriteString(pad + c)
			} else {
				line.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func (t *table) write(w io.Writer) error {
	_, err := io.WriteString(w, t.String())
	return err
}
