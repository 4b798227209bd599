# Every task of the project; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := x86_64-unknown-linux-musl
ARM64 := aarch64-unknown-linux-musl
# Where the plugin runs besides Linux.
SYSTEMS := aarch64-apple-darwin x86_64-pc-windows-gnu
# Panics name source files: without this machine's folders in them, the same source gives the same
# bytes everywhere (make reproduce).
SOURCES = $(shell ls -d $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*)
STATIC = RUSTFLAGS="$(SOURCES:%=--remap-path-prefix=%=/registry) --remap-path-prefix=$(CURDIR)=/ferrolb" \
    cargo build --release --locked --target
# Not --release: its own speed does not matter, and the tests have built most of it already.
LAB := cargo run --quiet --locked -p ferrolb-tests --bin lab --

.PHONY: help
help: ## List the tasks
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Bring what is missing for all tests: Debian packages for the lab, the pinned Rust toolchain (root)
	@tests/setup tests
	@! command -v rustup >/dev/null || rustup --quiet toolchain install --no-self-update

.PHONY: clean-lab
clean-lab: ## Remove what the lab keeps for the next time in ~/.cache/ferrolb, and nothing else
	@tests/clean-lab

.PHONY: build
build: fetch ## Build the static daemons and the kubectl plugin
	$(STATIC) $(TARGET) -p ferrolb-controller -p ferrolb-speaker -p ferrolb-keeper -p walk-app
	@# By itself: together, what the plugin needs of their common libraries would be in the daemons too.
	$(STATIC) $(TARGET) -p kubectl-ferrolb

.PHONY: build-arm64
build-arm64: fetch ## Build the static daemons for arm64
	$(STATIC) $(ARM64) -p ferrolb-controller -p ferrolb-speaker -p ferrolb-keeper -p walk-app

.PHONY: plugin
plugin: fetch ## Pack the kubectl plugin for Linux, macOS and Windows into target/plugin (Python; 20 minutes)
	cli/package $(PLATFORMS)

.PHONY: fetch
fetch:
	@cargo fetch --quiet --locked

.PHONY: images
images: build build-arm64 ## Write target/images/{amd64,arm64}/*.tar and what each is made of; no engine is needed
	$(LAB) images

.PHONY: manifests
manifests: ## Render the chart into deploy/, for kubectl apply and kustomize
	$(LAB) manifests

.PHONY: reference
reference: build ## Write the reference pages and what the chart says of its values from the code
	$(LAB) reference

.PHONY: docs
docs: ## Build the documentation site into target/book
	@command -v mdbook >/dev/null || cargo install --locked --quiet --no-default-features --features search mdbook@0.5.4
	mdbook build

.PHONY: release-dry-run
release-dry-run: build build-arm64 plugin ## All files of a release into target/release-VERSION (PLATFORMS= as for plugin, TAG=)
	$(LAB) release $(TAG:%=--tag %)

.PHONY: push
push: ## Push what release-dry-run made to REGISTRY=host:port/path (PLAIN_HTTP=1: without TLS; skopeo)
	@: $(or $(REGISTRY),$(error say where to: make push REGISTRY=host:port/path))
	$(LAB) push $(REGISTRY) $(PLAIN_HTTP:%=--plain-http)

.PHONY: reproduce
reproduce: build build-arm64 ## Build once more elsewhere: the same programs, byte for byte? (10 minutes)
	images/reproduce

.PHONY: lint
lint: ## Format, lints, purity of core
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	tests/check-core-is-pure

.PHONY: check
check: lint ## The quick inner loop: lint, and unit tests
	cargo test --locked -p ferrolb-core --features k8s -p ferrolb-kube -p ferrolb-controller -p ferrolb-speaker -p kubectl-ferrolb
	cargo test --locked -p ferrolb-keeper --lib

.PHONY: check-systems
check-systems: $(SYSTEMS:%=check-%) ## Lints of the plugin as macOS and Windows see it

# Nothing is linked, so the C in `ring` may be compiled by a compiler that does nothing.
check-%:
	@! command -v rustup >/dev/null || rustup --quiet target add $*
	CC_$(subst -,_,$*)=true AR_$(subst -,_,$*)=true \
	    cargo clippy --locked --target $* -p kubectl-ferrolb -- -D warnings

TEST := cargo test --workspace --features ferrolb-core/k8s --locked
# What depends on how kube-proxy forwards.
PROXY_TESTS := walk failover install addon dead_nodes keep_connections
# What depends on the version of Kubernetes.
KUBERNETES_TESTS := walk failover install addon
KUBERNETES_VERSIONS := $(sort 1.34 $(patsubst tests/tools/kubernetes-%,%,$(wildcard tests/tools/kubernetes-*)))
ifneq ($(filter-out $(KUBERNETES_VERSIONS),$(KUBERNETES)),)
$(error KUBERNETES=$(KUBERNETES): labs run Kubernetes $(KUBERNETES_VERSIONS); a version is a folder in tests/tools)
endif
# With either of them, these tests alone.
CHOSEN_TESTS := $(sort $(if $(PROXY),$(PROXY_TESTS)) $(if $(KUBERNETES),$(KUBERNETES_TESTS)))

.PHONY: test
test: build $(if $(CHOSEN_TESTS),,build-arm64) ## All tests, unit to a real cluster (root; the first build of Kubernetes takes minutes). PROXY=nftables: those of forwarding, in that mode of kube-proxy. KUBERNETES=1.31: walk, failover, install and addon with that version
	$(PROXY:%=FERROLB_PROXY=%) $(KUBERNETES:%=FERROLB_KUBERNETES=%) $(TEST) --no-fail-fast $(CHOSEN_TESTS:%=--test %) -- --test-threads=1

.PHONY: test-nftables
test-nftables: build ## One test with kube-proxy in nftables mode: traffic and failover (root, a minute)
	FERROLB_PROXY=nftables $(TEST) --test failover -- --test-threads=1 is_cut_off_or_cordoned

.PHONY: test-long
test-long: build ## Tests that take too long for each change, at their full size (root)
	FERROLB_LONG=1 cargo test --locked -p ferrolb-tests --test sizes -- --test-threads=1 --nocapture

.PHONY: bench
bench: build ## Failover, idle cost, answers to ARP, the controller's and the plugin's speed, in labs (root, an idle machine)
	for area in failover idle arp controller plugin objects; do \
	    cargo run --quiet --locked -p ferrolb-tests --bin bench -- $$area; \
	done

.PHONY: bench-peers
bench-peers: setup build ## FerroLB beside MetalLB, kube-vip and keepalived, into docs/benchmarks (root, an idle machine, an hour). ROUNDS= of each fault, IDLE= seconds without anything to do
	cargo build --quiet --locked -p ferrolb-tests --bin lab
	cargo run --quiet --locked -p ferrolb-tests --bin bench -- peers $(ROUNDS:%=--rounds %) $(IDLE:%=--seconds %)

.PHONY: bench-scale
bench-scale: build ## What a speaker costs at 1,000 nodes and 10,000 Services, in a lab (root, 40 minutes)
	cargo run --quiet --locked -p ferrolb-tests --bin bench -- scale

.PHONY: stress
stress: build ## What must not move an address, each of eight faults for half an hour (root)
	cargo run --quiet --locked -p ferrolb-tests --bin bench -- stress

.PHONY: fuzz
fuzz: ## Look for frames that break the parser or the announcer, a minute each (nightly, cargo-fuzz)
	for target in frame announcer; do \
	    cargo +nightly fuzz run "$$target" -- -max_total_time=60; \
	done

.PHONY: demo
demo: fetch ## The reference walk on a real cluster of three nodes, told step by step (root)
	@tests/demo

.PHONY: lifetime
lifetime: setup build ## From helm install to helm uninstall, told with times and losses (root)
	$(LAB) lifetime

.PHONY: deny
deny: ## Licences, banned crates and sources of every dependency
	cargo deny --locked check licenses bans sources

.PHONY: cargo-deny
cargo-deny: ## Install cargo-deny if it is missing
	@command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny@0.20.2
