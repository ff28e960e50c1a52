// Package redirect captures a program's traffic for its proxy with eBPF hooks on two control groups: the
// program runs in weft/<name>/app, where its calls to virtual addresses and to name servers are redirected,
// and the proxy in weft/<name>/proxy, which is never captured and can ask what a connection was meant for
// (package origdst). On demand all TCP that leaves the machine is captured, so that the proxy can refuse what is no
// service (Everything). No packet is rewritten and no other traffic is slowed: the hooks run when a socket
// connects, not when it sends. Nothing in the network namespace changes, so nothing has to be undone in it.
//
// A Capture is safe for use by several goroutines. The kernel takes the hooks away when the process that
// attached them ends, however it ends; the empty directories that then remain are removed by the next
// Prepare.
//
// Limits: 65,536 captured connections and name-server sockets are remembered per Capture, the least recently
// used beyond that forgotten (a connection's entry is needed from connect until the proxy has accepted it, and
// by getpeername). A datagram that is sent to an IPv6 name server without connect is not captured, since the
// kernel has no way to move it to IPv4; neither is DNS over TCP. Of a connection to an IPv6 address the proxy does not
// learn which, so it can only refuse it. UDP but DNS is never captured.
package redirect
