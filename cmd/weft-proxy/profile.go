//go:build weft_profile

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// startProfile records where processor time goes, to a file of the folder that WEFT_PROFILE_DIR names. Only builds with
// the tag weft_profile have it: tools/profile makes default.pgo from such files.
func startProfile() (stop func(), err error) {
	dir := os.Getenv("WEFT_PROFILE_DIR")
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("weft-proxy-%d.pprof", os.Getpid())))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
