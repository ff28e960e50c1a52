package resilience

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// The fields that carry a deadline from hop to hop, both relative, so that clocks need not agree.
const (
	FieldGRPCTimeout = "grpc-timeout"     // gRPC over HTTP/2, "Requests"
	FieldDeadline    = "weft-deadline-ms" // what is left, in milliseconds, in decimal digits
)

const maxDigits = 8 // of grpc-timeout

// ParseGRPCTimeout reads a field grpc-timeout: 1 to 8 digits and one of the units H, M, S, m, u, n. What is longer
// than a Duration holds is the longest Duration.
func ParseGRPCTimeout(s string) (time.Duration, error) {
	if len(s) < 2 || len(s) > maxDigits+1 {
		return 0, fmt.Errorf("grpc-timeout %q is not 1 to 8 digits and a unit", clip(s))
	}
	unit := grpcUnit(s[len(s)-1])
	if unit == 0 {
		return 0, fmt.Errorf("grpc-timeout %q: the unit is none of H, M, S, m, u, n", clip(s))
	}
	n, ok := digits(s[:len(s)-1])
	if !ok {
		return 0, fmt.Errorf("grpc-timeout %q is not 1 to 8 digits and a unit", clip(s))
	}
	return times(n, unit), nil
}

func grpcUnit(c byte) time.Duration {
	switch c {
	case 'H':
		return time.Hour
	case 'M':
		return time.Minute
	case 'S':
		return time.Second
	case 'm':
		return time.Millisecond
	case 'u':
		return time.Microsecond
	case 'n':
		return time.Nanosecond
	}
	return 0
}

// AppendGRPCTimeout appends a field's value for d, in the finest unit that 8 digits can hold. It rounds down: no
// hop may believe that it has more time than its caller waits. What is not positive is "0n".
func AppendGRPCTimeout(dst []byte, d time.Duration) []byte {
	const most = 99_999_999
	d = max(d, 0)
	for _, u := range [...]byte{'n', 'u', 'm', 'S', 'M'} {
		if n := d / grpcUnit(u); n <= most {
			return append(strconv.AppendInt(dst, int64(n), 10), u)
		}
	}
	return append(strconv.AppendInt(dst, int64(d/time.Hour), 10), 'H')
}

// ParseDeadline reads a field weft-deadline-ms. What is longer than a Duration holds is the longest Duration.
func ParseDeadline(s string) (time.Duration, error) {
	n, ok := digits(s)
	if !ok {
		return 0, fmt.Errorf("%s %q is not 1 to 18 decimal digits", FieldDeadline, clip(s))
	}
	return times(n, time.Millisecond), nil
}

// AppendDeadline appends a field's value for d, rounded down; "0" for what is not positive.
func AppendDeadline(dst []byte, d time.Duration) []byte {
	return strconv.AppendInt(dst, int64(max(d, 0)/time.Millisecond), 10)
}

func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = 10*n + int64(d)
	}
	return n, true
}

func times(n int64, unit time.Duration) time.Duration {
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	return time.Duration(n) * unit
}

// clip bounds what a message repeats of others' bytes.
func clip(s string) string { return s[:min(len(s), 40)] }

// Bound is who set a deadline.
type Bound uint8

const (
	Unbounded Bound = iota
	ByCaller        // the request's field
	ByPolicy        // our own timeout
)

// Deadline is the time that a request has, from when its head was here. The zero value bounds nothing.
type Deadline struct {
	Total time.Duration
	By    Bound
}

// NewDeadline is the shorter of what the caller waits and our own timeout. told: the caller said how long, which may
// be 0. own 0 is none.
func NewDeadline(caller time.Duration, told bool, own time.Duration) Deadline {
	switch {
	case told && (own <= 0 || caller <= own):
		return Deadline{max(caller, 0), ByCaller}
	case own > 0:
		return Deadline{own, ByPolicy}
	}
	return Deadline{}
}

// Left is what is left of it after some time. ok is false when the request is doomed: what is left, less need (the
// time that work takes at least; 0 when unknown), is not positive, so nothing should be sent any more. Without a
// deadline left is the longest Duration.
func (d Deadline) Left(elapsed, need time.Duration) (left time.Duration, ok bool) {
	if d.By == Unbounded {
		return math.MaxInt64, true
	}
	left = d.Total - max(elapsed, 0)
	return left, left-max(need, 0) > 0
}

// Try is how long a try may take: what is left, at most perTry (0: no bound of its own). 0 when neither bounds it,
// negative when nothing is left.
func (d Deadline) Try(elapsed, perTry time.Duration) time.Duration {
	left, ok := d.Left(elapsed, 0)
	switch {
	case !ok:
		return -1
	case d.By == Unbounded:
		return perTry
	case perTry > 0:
		return min(left, perTry)
	}
	return left
}

// String says who bounds the request.
func (d Deadline) String() string {
	switch d.By {
	case ByCaller:
		return fmt.Sprintf("%s, which the caller waits", d.Total)
	case ByPolicy:
		return fmt.Sprintf("%s, the timeout of the policy", d.Total)
	}
	return "no deadline"
}
