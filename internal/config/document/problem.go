package document

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is something wrong, or doubtful, in a document: where, what, and what to write instead.
type Problem struct {
	File    string
	Line    int    // from 1; 0 if the problem is not at a place
	Column  int    // from 1, in bytes; 0 if unknown
	Field   string // "spec.rules[0].matches[0].path.type"; "" if the problem is of the whole document
	Message string // what is wrong
	Remedy  string // what to do about it; may be ""
	Warning bool   // the document is taken all the same
}

// Error returns `reviews.yaml:14:11: spec.rules[0].wieght: unknown field; did you mean "weight"?`.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Line > 0 && p.Column > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are the problems of a set, in the order found.
type Problems []Problem

// Failed reports whether one of them is more than a warning.
func (ps Problems) Failed() bool {
	for i := range ps {
		if !ps[i].Warning {
			return true
		}
	}
	return false
}

// Warnings returns those that are only warnings.
func (ps Problems) Warnings() Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning {
			out = append(out, p)
		}
	}
	return out
}

// Err returns the problems that are more than warnings as one error, a line each, or nil.
func (ps Problems) Err() error {
	var errs []error
	for _, p := range ps {
		if !p.Warning {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Distinct returns the problems without those that say the same of the same place.
func (ps Problems) Distinct() Problems {
	seen := make(map[Problem]bool, len(ps))
	out := ps[:0:0]
	for _, p := range ps {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// Bound cuts the problems to at most n and says how many were left out.
func (ps Problems) Bound(n int) Problems {
	if len(ps) <= n {
		return ps
	}
	more := Problem{File: ps[0].File, Message: fmt.Sprintf("%d more problems are not shown", len(ps)-n), Warning: true}
	return append(ps[:n:n], more)
}
