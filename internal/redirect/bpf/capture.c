//go:build ignore

// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
//
// Capture of a program's traffic at the socket: no packet is rewritten, only addresses that system calls
// are given and give back. A connection that is not captured costs one comparison when it is opened.
//
//	connect4/6   TCP to a virtual address goes to the proxy, or all TCP that leaves the machine; UDP to port 53
//	             goes to the DNS responder
//	sendmsg4     the same for datagrams sent without connect
//	sockops      tells the proxy's side, by the connection's addresses, what was asked for, before the SYN leaves
//	getsockopt   answers SO_ORIGINAL_DST in the proxy
//	recvmsg4/6, getpeername4/6   show the program the addresses it asked for

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define SOL_IP 0
#define SO_ORIGINAL_DST 80
#define DNS_PORT bpf_htons(53)
#define MAPPED bpf_htonl(0xffff) // third word of ::ffff:a.b.c.d

#define ENTRIES 65536

// What a connection to an IPv6 address is said to be meant for: SO_ORIGINAL_DST has room for IPv4 alone. It is
// TEST-NET-1 (RFC 5737), which is nobody's, so the proxy knows no service there.
#define ANY6 bpf_htonl(0xc0000200)

// What follows is in network byte order throughout; ports are held as 32 bits, as the contexts have them.

struct addr {
	__u32 ip;
	__u32 port;
};

struct addr6 {
	__u32 ip[4];
	__u32 port;
};

// A connection's two ends, seen from the program.
struct tuple {
	struct addr local;
	struct addr remote;
};

// Set before load and never changed.
volatile const __u32 vip_net;
volatile const __u32 vip_mask;

// Where captured traffic goes; user space rewrites it when the proxy comes back on other ports. A port of
// 0 captures nothing. With all, TCP to every address but the machine's loopback is captured.
struct target {
	struct addr outbound;
	struct addr dns;
	__u32 all;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

// Socket cookie -> address asked for: from connect until the connection has its local port.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, __u64);
	__type(value, struct addr);
} connecting SEC(".maps");

// Connection -> address asked for.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, struct tuple);
	__type(value, struct addr);
} originals SEC(".maps");

// Socket cookie -> name server asked last.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, __u64);
	__type(value, struct addr6);
} asked SEC(".maps");

// SET stores into a context. The verifier wants each access at a constant offset from the pointer it handed
// in; written in C, two stores at the ends of branches become one to a computed address.
#define SET(field, value)                                                                              \
	asm volatile("*(u32 *)(%0 + %1) = %2"                                                           \
		     :                                                                                  \
		     : "r"(ctx), "i"(__builtin_offsetof(struct bpf_sock_addr, field)), "r"((__u32)(value)) \
		     : "memory")

static __always_inline struct target *target(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&targets, &zero);
}

static __always_inline int is_vip(__u32 ip)
{
	return (ip & vip_mask) == vip_net;
}

// is_local is what never leaves the machine: 127.0.0.0/8, and 0.0.0.0, by which Linux means the same.
static __always_inline int is_local(__u32 ip)
{
	return !ip || (ip & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

// MPTCP connects its first subflow through the same hook, as TCP; the other value is for kernels that
// show the parent socket.
static __always_inline int is_tcp(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;
}

// capture_tcp remembers what was asked for and returns the proxy's address, or 0 to leave all as it is.
static __always_inline struct addr *capture_tcp(struct bpf_sock_addr *ctx, __u32 ip)
{
	struct target *t = target();
	if (!t || !t->outbound.port)
		return 0;
	if (!is_vip(ip) && (!t->all || is_local(ip)))
		return 0;
	struct addr asked_for = { .ip = ip, .port = ctx->user_port };
	__u64 cookie = bpf_get_socket_cookie(ctx);
	if (bpf_map_update_elem(&connecting, &cookie, &asked_for, BPF_ANY))
		return 0;
	return &t->outbound;
}

static __always_inline struct addr *capture_dns(struct bpf_sock_addr *ctx, struct addr6 *server)
{
	struct target *t = target();
	if (!t || !t->dns.port)
		return 0;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	if (bpf_map_update_elem(&asked, &cookie, server, BPF_ANY))
		return 0;
	return &t->dns;
}

static __always_inline void capture_dns4(struct bpf_sock_addr *ctx)
{
	struct addr6 server = { .ip = { 0, 0, MAPPED, ctx->user_ip4 }, .port = ctx->user_port };
	struct addr *to = capture_dns(ctx, &server);
	if (to) {
		SET(user_ip4, to->ip);
		SET(user_port, to->port);
	}
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	__u32 ip = ctx->user_ip4;
	if (is_tcp(ctx)) {
		struct addr *to = capture_tcp(ctx, ip);
		if (to) {
			SET(user_ip4, to->ip);
			SET(user_port, to->port);
		}
	} else if (ctx->protocol == IPPROTO_UDP && ctx->user_port == DNS_PORT) {
		capture_dns4(ctx);
	}
	return 1;
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	struct addr *to = 0;
	__u32 w0 = ctx->user_ip6[0], w1 = ctx->user_ip6[1], w2 = ctx->user_ip6[2], w3 = ctx->user_ip6[3];
	if (is_tcp(ctx)) {
		if (!w0 && !w1 && w2 == MAPPED)
			to = capture_tcp(ctx, w3);
		else if (w0 || w1 || w2 || (w3 != bpf_htonl(1) && w3))
			to = capture_tcp(ctx, ANY6);
	} else if (ctx->protocol == IPPROTO_UDP && ctx->user_port == DNS_PORT) {
		struct addr6 server = { .ip = { w0, w1, w2, w3 }, .port = ctx->user_port };
		to = capture_dns(ctx, &server);
	}
	if (to) {
		SET(user_ip6[0], 0);
		SET(user_ip6[1], 0);
		SET(user_ip6[2], MAPPED);
		SET(user_ip6[3], to->ip);
		SET(user_port, to->port);
	}
	return 1;
}

// There is no sendmsg6: a v4-mapped destination comes through sendmsg4, and the kernel does not let a
// program turn an IPv6 destination into a v4-mapped one there (udpv6_sendmsg).
SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	if (ctx->user_port == DNS_PORT)
		capture_dns4(ctx);
	return 1;
}

static __always_inline struct addr6 *answering(struct bpf_sock_addr *ctx, __u32 ip)
{
	struct target *t = target();
	if (!t || ctx->user_port != t->dns.port || ip != t->dns.ip)
		return 0;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	return bpf_map_lookup_elem(&asked, &cookie);
}

static __always_inline void show4(struct bpf_sock_addr *ctx, __u32 ip, __u32 port)
{
	SET(user_ip4, ip);
	SET(user_port, port);
}

static __always_inline void show6(struct bpf_sock_addr *ctx, struct addr6 *a)
{
	SET(user_ip6[0], a->ip[0]);
	SET(user_ip6[1], a->ip[1]);
	SET(user_ip6[2], a->ip[2]);
	SET(user_ip6[3], a->ip[3]);
	SET(user_port, a->port);
}

static __always_inline int is_mapped(struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == MAPPED;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct addr6 *server = answering(ctx, ctx->user_ip4);
	if (server)
		show4(ctx, server->ip[3], server->port);
	return 1;
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	if (!is_mapped(ctx))
		return 1;
	struct addr6 *server = answering(ctx, ctx->user_ip6[3]);
	if (server)
		show6(ctx, server);
	return 1;
}

// original finds what the connection behind a getpeername asked for. The socket's addresses are the key,
// not its cookie: an MPTCP socket has another cookie than the subflow that connected.
static __always_inline struct addr *original(struct bpf_sock_addr *ctx, __u32 ip)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	struct tuple key = {
		.local = { .ip = sk->src_ip4, .port = bpf_htons(sk->src_port) },
		.remote = { .ip = ip, .port = ctx->user_port },
	};
	return bpf_map_lookup_elem(&originals, &key);
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *ctx)
{
	if (ctx->protocol == IPPROTO_UDP) {
		struct addr6 *server = answering(ctx, ctx->user_ip4);
		if (server)
			show4(ctx, server->ip[3], server->port);
		return 1;
	}
	struct addr *to = original(ctx, ctx->user_ip4);
	if (to)
		show4(ctx, to->ip, to->port);
	return 1;
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *ctx)
{
	if (!is_mapped(ctx))
		return 1;
	if (ctx->protocol == IPPROTO_UDP) {
		struct addr6 *server = answering(ctx, ctx->user_ip6[3]);
		if (server)
			show6(ctx, server);
		return 1;
	}
	struct addr *to = original(ctx, ctx->user_ip6[3]);
	if (to) {
		SET(user_ip6[3], to->ip);
		SET(user_port, to->port);
	}
	return 1;
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
		return 1;
	struct target *t = target();
	if (!t || ctx->remote_port != t->outbound.port << 16 || ctx->remote_ip4 != t->outbound.ip)
		return 1;
	struct tuple key = {
		.local = { .ip = ctx->local_ip4, .port = bpf_htons(ctx->local_port) },
		.remote = { .ip = ctx->remote_ip4, .port = t->outbound.port },
	};
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct addr *to = bpf_map_lookup_elem(&connecting, &cookie);
	if (!to) {
		// The program calls the proxy itself: nothing older may answer for this connection.
		bpf_map_delete_elem(&originals, &key);
		return 1;
	}
	struct addr asked_for = *to;
	bpf_map_update_elem(&originals, &key, &asked_for, BPF_ANY);
	bpf_map_delete_elem(&connecting, &cookie);
	return 1;
}

struct sockaddr_in4 {
	__u16 family;
	__u16 port;
	__u32 ip;
	__u64 zero;
};

SEC("cgroup/getsockopt")
int weft_getsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level != SOL_IP || ctx->optname != SO_ORIGINAL_DST)
		return 1;
	struct bpf_sock *sk = ctx->sk;
	struct sockaddr_in4 *out = ctx->optval;
	if (!sk || (void *)(out + 1) > ctx->optval_end)
		return 1;
	struct tuple key = {
		.local = { .ip = sk->dst_ip4, .port = sk->dst_port },
		.remote = { .ip = sk->src_ip4, .port = bpf_htons(sk->src_port) },
	};
	struct addr *to = bpf_map_lookup_elem(&originals, &key);
	if (!to)
		return 1;
	out->family = AF_INET;
	out->port = to->port;
	out->ip = to->ip;
	out->zero = 0;
	// The verifier takes only 32-bit stores here; volatile keeps the compiler from joining the two.
	*(volatile __s32 *)&ctx->optlen = sizeof(*out);
	*(volatile __s32 *)&ctx->retval = 0;
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
