package main

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary stand in for the parts that run as processes of their own: outputSelf and
// startSelf run whatever program this is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if err := child(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
