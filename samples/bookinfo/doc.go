// Package bookinfo holds what describes the sample to `weft demo` (demo.yaml and routes); its programs are in
// the folders below, its tests run all of them together.
package bookinfo
