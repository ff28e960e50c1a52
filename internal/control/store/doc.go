// Package store is the control plane's memory: etcd's client API, over a server embedded in this process or
// over a cluster somebody else runs. Everything above it sees a *clientv3.Client and cannot tell which.
//
// The embedded server is one node that syncs every commit to disk, compacts history hourly and holds at
// most 1 GiB. It listens on no network: its one socket is a unix socket in its own directory, mode 0700. A
// data directory serves one process at a time, enforced by a lock that the kernel drops when the process ends.
//
// Before it starts, the files of a data directory are checked, because the server would end the process at
// the first damaged page. Nothing is ever deleted or repaired here: that is the operator's decision.
//
// A Store is safe for concurrent use. This is the only package that imports etcd's server; it is the way to
// etcd's client for the others.
package store
