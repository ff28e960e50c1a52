// Package bpf holds the kernel's half of capture: capture.c, the object compiled from it, and the loader
// that bpf2go generates. Objects are for little-endian machines (amd64, arm64, riscv64).
//
// `go generate` needs clang, llvm-strip and the headers of libbpf and the kernel (Debian: clang, llvm,
// libbpf-dev, linux-libc-dev).
package bpf

//go:generate go tool -modfile=../../../tools/go.mod bpf2go -go-package bpf -target bpfel -cflags "-O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" Capture capture.c
