# The two commands of the README are `make run` and `make test`; the rest is for those who work on Postern.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  = -s -w -X github.com/postern-mail/postern/internal/app.Version=$(VERSION) -X github.com/postern-mail/postern/internal/app.Revision=$(REVISION)
TOOLS    = $(GO) tool -modfile=scripts/tools/go.mod
# The race detector needs a C compiler; without one the tests run without it.
RACE     = $(if $(shell command -v gcc 2>/dev/null),$(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race))
FUZZTIME ?= 10m
# For how long `make test` runs each fuzzer of a decoder or container.
TESTFUZZTIME ?= 30s

.PHONY: build run test accept soak lint fuzz bench clean

## build: the binary, in bin/
build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/postern ./cmd/postern

## run: a complete gateway on loopback with sample mail; ^C ends it
run: build
	bin/postern demo

## test: every test, then the fuzzers of decoders and containers; fetches the mail programs that it talks to (see scripts/peers)
test:
	@scripts/peers || echo 'tests that need a real mail server will skip'
	GO=$(GO) scripts/tests $(RACE)
	scripts/fuzz $(TESTFUZZTIME) '^internal/archive/|^mail/charset |^mail Fuzz(Decode|Index|Rebuild)$$'

## accept: the long comparisons with real peers and corpora; writes docs/accept.md, with what was missed marked
accept: build
	@scripts/peers
	$(GO) test -tags accept -count 1 -timeout 90m -v ./internal/accept

## soak: every fuzzer for ten minutes, or $(FUZZTIME)
soak: fuzz

## fuzz: every fuzzer of the project in turn, each for $(FUZZTIME)
fuzz:
	scripts/fuzz $(FUZZTIME)

## lint: format, vet, staticcheck; govulncheck where its database can be reached
lint:
	scripts/lint

## bench: the benchmarks
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf bin
