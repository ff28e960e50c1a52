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
// Datagrams is a UDP socket. It has no tasks: a Handler is told what came in, up to 32 datagrams for a system call,
// and answers leave together at the end of the turn.
//
// Two schedulers stand behind the same API; the build chooses (docs/adr/0009). The one above is for Linux. On
// other systems, and with the tag weft_goroutines, the files named portable* take the place of epoll: a
// goroutine for each connection reads ahead, goroutines write what does not go out at once, dial and accept,
// and what came of it arrives in the loop's mailbox. Tasks, timers, buffers and turns are the same, so that
// still only one task or callback of a loop runs at a time. That scheduler also runs on a network that is
// not the system's (NewOn, ListenOn), and so in the virtual time of testing/synctest.
//
// Limits: deadlines are coarse (Tick); parked tasks cost their stack, 8 KiB at least; finished tasks are
// kept for reuse, at most maxFree of them. The portable scheduler costs a goroutine and a buffer of 4 KiB
// (64 KiB while reads fill it) for each connection, also an idle one, and learns that a connection
// broke only when what was read before has been taken.
package loop
