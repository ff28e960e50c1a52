package porttest

import (
	"errors"
	"fmt"
	"syscall"
)

// claim takes the port's name among the abstract addresses of this network namespace (unix(7)). The descriptor is never
// closed: the name is given back when the process ends.
func claim(port int) (bool, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("@weft-porttest-%d", port)})
	if err == nil {
		return true, nil
	}
	syscall.Close(fd)
	if errors.Is(err, syscall.EADDRINUSE) {
		return false, nil
	}
	return false, err
}
