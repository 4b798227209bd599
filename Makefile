# Every task of the project; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := x86_64-unknown-linux-musl
# Not --release: its own speed does not matter, and the tests have built most of it already.
LAB := cargo run --quiet --locked -p ferrolb-tests --bin lab --

.PHONY: help
help: ## List the tasks
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing: Debian packages for the lab, the pinned Rust toolchain (root)
	@missing=$$(comm -13 <(dpkg-query -W -f '$${Package} $${db:Status-Abbrev}\n' 2>/dev/null \
	    | awk '$$2 == "ii" { print $$1 }' | sort) <(sort tests/packages.txt)); \
	if [ -n "$$missing" ]; then \
	    echo "installing:" $$missing; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@! command -v rustup >/dev/null || rustup --quiet toolchain install --no-self-update

.PHONY: build
build: ## Build the static daemons and the kubectl plugin
	cargo build --release --locked --target $(TARGET) -p ferrolb-controller -p ferrolb-speaker -p walk-app
	@# By itself: together, what the plugin needs of their common libraries would be in the daemons too.
	cargo build --release --locked --target $(TARGET) -p kubectl-ferrolb

.PHONY: images
images: build ## Write target/images/{controller,speaker,walk-app}.tar and what each is made of; no engine is needed
	$(LAB) images

.PHONY: check
check: ## The quick inner loop: format, lints, unit tests, purity of core
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked -p ferrolb-core --features k8s -p ferrolb-controller -p ferrolb-speaker -p kubectl-ferrolb
	tests/check-core-is-pure

.PHONY: test
test: build ## All tests, unit to a real cluster (root; the first build of Kubernetes takes minutes)
	cargo test --workspace --features ferrolb-core/k8s --locked -- --test-threads=1

.PHONY: bench
bench: build ## Failover, answers to ARP and the controller's speed, measured in labs (root, an idle machine)
	for area in failover arp controller; do \
	    cargo run --quiet --locked -p ferrolb-tests --bin bench -- $$area; \
	done

.PHONY: fuzz
fuzz: ## Look for frames that break the parser or the announcer, a minute each (nightly, cargo-fuzz)
	for target in frame announcer; do \
	    cargo +nightly fuzz run "$$target" -- -max_total_time=60; \
	done

.PHONY: demo
demo: setup build ## The reference walk on a real cluster of three nodes, told step by step (root)
	$(LAB) demo

.PHONY: deny
deny: ## Licences, banned crates and sources of every dependency
	cargo deny --locked check licenses bans sources

.PHONY: cargo-deny
cargo-deny: ## Install cargo-deny if it is missing
	@command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny@0.20.2
