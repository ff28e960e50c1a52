// Command weft is the command line of Weft, its control plane (weft serve) and its local platform (weft
// run, weft demo). This package is wiring only: flags are in internal/cli, everything else below internal.
package main
