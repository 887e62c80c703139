.PHONY: help run test check check-rust check-contract check-dependencies contract-baseline bench

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: ## build the server and serve
	cargo run --release --bin relay -- serve

test: ## every test: unit, integration, documentation
	cargo test --workspace --no-fail-fast

check: check-rust check-contract check-dependencies ## format, lints, contract, dependencies

check-rust:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

check-contract:
	scripts/buf/buf lint
	scripts/buf/buf format --diff --exit-code
	scripts/buf/buf breaking proto --against proto/baseline.binpb

check-dependencies:
	scripts/deny

# proto/baseline.binpb is the contract as released. Renew it in the commit that releases additions, so that they are
# guarded from then on; never to silence a break, which is refused here and needs a new package version (relay.chat.v2).
# Before the first release nothing is promised yet: delete the file, then renew it.
contract-baseline: ## take the contract as it is now for the released one
	scripts/renew-contract-baseline

bench: ## measure the server with the load generator
	cargo build --release --bin relay
	cargo run --release -p relay-bench
