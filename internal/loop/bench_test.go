//go:build linux

package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkTaskSwitch is one park and wake.
func BenchmarkTaskSwitch(b *testing.B) {
	l := manual(b)
	stop := false
	var t *Task
	l.Go(func() {
		t = l.Current()
		for !stop {
			l.Park()
		}
	})
	l.endTurn()
	b.ReportAllocs()
	for b.Loop() {
		l.Wake(t)
		l.endTurn()
	}
	stop = true
	l.Wake(t)
	l.endTurn()
}

// BenchmarkGo is one short task on a coroutine used before.
func BenchmarkGo(b *testing.B) {
	l := manual(b)
	f := func() {}
	b.ReportAllocs()
	for b.Loop() {
		l.Go(f)
		l.endTurn()
	}
}

// BenchmarkTimer arms and stops one timer among a thousand.
func BenchmarkTimer(b *testing.B) {
	l := manual(b)
	f := func() {}
	others := make([]Timer, 1000)
	for i := range others {
		l.AfterFunc(&others[i], time.Duration(i)*Tick, f)
	}
	var t Timer
	b.ReportAllocs()
	for b.Loop() {
		l.AfterFunc(&t, time.Second, f)
		t.Stop()
	}
}

// BenchmarkEcho is a message to a connection of a loop and back, over a socket pair whose other end blocks.
func BenchmarkEcho(b *testing.B) {
	l := start(b)
	var far int
	l.Call(func() {
		var c *Conn
		c, far = pair(b, l)
		l.Go(func() { echo(c) })
	})
	defer unix.Close(far)
	if err := unix.SetNonblock(far, false); err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unix.Write(far, msg); err != nil {
			b.Fatal(err)
		}
		if n, err := unix.Read(far, msg); n != 64 || err != nil {
			b.Fatal(n, err)
		}
	}
}
