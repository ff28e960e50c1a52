//go:build !unix

package loop

import "syscall"

// attempt writes nothing here: a goroutine does.
type attempt struct{}

func (a *attempt) init() {}

func (a *attempt) write(syscall.RawConn, []byte) (int, error) { return 0, nil }
