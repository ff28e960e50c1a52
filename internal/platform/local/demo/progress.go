package demo

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints a line per part. It is safe for concurrent use.
type progress struct {
	mu             sync.Mutex
	w              io.Writer
	passed, failed int
}

func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...) // a terminal that is gone is noticed by its signal
}

// ready says that a part has started.
func (p *progress) ready(what string, took time.Duration) {
	p.printf("✓ %s ready (%.1f s)", what, took.Seconds())
}

// verdict prints an assertion with its figure, and counts it.
func (p *progress) verdict(v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mark := "✓"
	if v.ok {
		p.passed++
	} else {
		p.failed++
		mark = "✗"
	}
	fmt.Fprintf(p.w, "%s %s: %s\n", mark, v.claim, v.figure)
}

// verdict is an assertion that was tried.
type verdict struct {
	claim  string
	figure string // what was measured, and on failure what was wanted
	ok     bool
}
