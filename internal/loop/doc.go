// Package loop is the engine's scheduler: event loops on which straight-line code runs as tasks.
//
// A Loop is one goroutine over one edge-triggered epoll instance. A Task is a coroutine (iter.Pull, whose
// switch is a direct handoff and never visits Go's scheduler) that parks where it would block and is
// resumed by its loop. Conn is a non-blocking socket; it satisfies net.Conn, so crypto/tls runs on it
// unchanged, parking inside Read.
//
// Concurrency: everything a Loop, its Tasks, Conns and Timers touch belongs to the loop's goroutine.
// Only Post, Call and Stop may be called from elsewhere. Nothing on a loop may block: work that must
// (files, DNS, foreign SDKs) runs on an ordinary goroutine and comes back by Post.
//
// A turn: wait for events; run what they concern; run tasks woken meanwhile; flush what was written
// (OnFlush); repeat. Writes that can wait for the end of a turn therefore leave as one system call.
//
// Limits: deadlines are coarse (Tick); parked tasks cost their stack, 8 KiB at least; finished tasks are
// kept for reuse, at most maxFree of them. Linux only.
package loop
