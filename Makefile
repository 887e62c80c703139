.PHONY: help run cluster test programs test-sqlite test-cluster test-2-nodes test-3-nodes test-check test-postgres check check-rust check-contract check-dependencies contract-baseline bench

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: ## build the server and serve
	cargo run --release --bin relay -- serve

cluster: ## build the server, and serve on three nodes with a PostgreSQL and a Redis of their own
	cargo build --release --bin relay
	scripts/cluster

test: test-sqlite test-cluster ## every test: unit, integration, documentation; the behaviour on one node, on two and on three

test-sqlite: programs
	cargo test --workspace --no-fail-fast

# PostgreSQL and Redis are there, or installed, before the first test: tests start instances side by side, and only one
# can install at a time.
programs:
	scripts/with-postgres scripts/with-redis true

test-cluster: test-2-nodes test-3-nodes test-check

# The behaviour with servers of so many nodes, on PostgreSQL and Redis, which are found or installed. Left out: what is
# about SQLite's file, and what brings its own PostgreSQL and Redis and is in test-sqlite already.
ELSEWHERE = --skip config::a_second_server_on_the_same_data_is_refused --skip postgres:: --skip cluster:: --skip nodes::
# The workspace is named so that what test-sqlite has built is not built again, with other features.
BEHAVIOUR = cargo test --workspace --no-fail-fast --test behaviour -- $(ELSEWHERE)

test-2-nodes test-3-nodes: test-%-nodes:
	RELAY_TEST_DATABASE=postgres RELAY_TEST_NODES=$* scripts/with-postgres scripts/with-redis $(BEHAVIOUR)

# The checker's short run. It brings its own PostgreSQL and Redis; with-redis sees to it that there are programs to run.
# The server is built with the behaviour tests.
test-check:
	cargo test --workspace --no-run --test behaviour
	scripts/with-redis cargo test --workspace --test check_run

# Not in `make test`: between one node on SQLite and two on PostgreSQL it has little to find.
test-postgres: ## the behaviour tests on one node with PostgreSQL
	RELAY_TEST_DATABASE=postgres scripts/with-postgres $(BEHAVIOUR)

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

# PostgreSQL, Redis and the peer's packages are found or installed; without one of them, take the words in front away.
bench: bench/peers/socketio/node_modules ## measure the server, on one node and on two, with the load generator
	cargo build --release --bin relay
	cargo build --release -p relay-bench
	scripts/with-postgres scripts/with-redis cargo run --release -p relay-bench

bench/peers/socketio/node_modules: bench/peers/socketio/package-lock.json
	npm ci --prefix bench/peers/socketio
	touch $@
