# Two commands: `make run` opens the app, `make test` checks everything. `make help` lists the rest.
SHELL := /bin/bash
CARGO ?= cargo
SEEDS ?= 0..50000
# The whole workspace each time: another selection of crates is another set of features, and all is built again.
ONCE := --release --locked --workspace
.DEFAULT_GOAL := help
.PHONY: help run demo test test-net bench figures figures-window model screenshots soak fmt lint floors

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | while IFS='|' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

run: ## install what the system lacks, build, open the app
	@scripts/run.sh

demo: ## a relay and three members as real processes on this computer; ends by itself
	@scripts/system.sh build
	$(CARGO) build $(ONCE) --bin hearth-node --bin demo
	@target/release/demo

test: ## everything CI checks
	@scripts/test.sh

test-net: ## a group whose network falls apart and heals, on hosts in network namespaces; as root
	@scripts/system.sh net
	$(CARGO) build $(ONCE) --bins --tests
	$(CARGO) test $(ONCE) --test partition --test leak --test tor -- --ignored --nocapture --test-threads 1

bench: ## what a commit, a join and a message cost, beside bare OpenMLS and mls-rs
	@scripts/system.sh build
	nice -n 10 $(CARGO) bench --profile release --locked --workspace --bench mls

figures: ## measure on this computer, print the table of docs/figures.md
	@scripts/system.sh build
	$(CARGO) build $(ONCE) --bin hearth-node --bin figures
	@target/release/figures

figures-window: ## measure the window on this computer: first words, rest, memory
	@scripts/system.sh test
	$(CARGO) build $(ONCE) --bin hearth --bin figures-window
	@target/release/figures-window

screenshots: ## draw the pictures of docs/screenshots anew
	@scripts/system.sh test
	$(CARGO) build $(ONCE) --examples
	@scripts/screenshots.sh

soak: ## the long runs: many more kills and seeds than CI; SEEDS=from..to resumes the simulator's
	@scripts/system.sh test
	HEARTH_ROUNDS=2000 HEARTH_SIM_SEEDS=$(SEEDS) $(CARGO) test $(ONCE) --test restart --test sim -- --nocapture

model: ## the signing rule, model-checked in larger worlds than `make test` looks at
	$(CARGO) test $(ONCE) --test signing -- --include-ignored --nocapture --test-threads 1

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## clippy with the shared lints, and the floors of deny.toml
	$(CARGO) clippy $(ONCE) --all-targets -- -D warnings
	@scripts/floors.sh

floors: ## check Cargo.lock against deny.toml, without any tool
	@scripts/floors.sh
