#!/usr/bin/env bash
# Everything that CI runs, on a machine that need not be prepared. Ends with the number of tests.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

case ${1:-} in
    "") ;;
    *)
        printf 'usage: scripts/test.sh\n\nSets up the machine, then runs every check and every test of the workspace.\n'
        printf 'A single test: cargo build --workspace --bins && cargo test --workspace NAME\n'
        [[ $1 == --help || $1 == -h ]] && exit 0 || exit 2
        ;;
esac

# Pinned: another version may read deny.toml differently.
readonly cargo_deny=0.20.2
readonly tools=$HOME/.cache/vaultvisor/tools

log=$(mktemp)
readonly log
stage=starting
times=""

on_exit() {
    local code=$?
    rm -f "$log"
    if ((code != 0)); then printf '\ntest: FAILED in stage: %s\n' "$stage" >&2; fi
}
trap on_exit EXIT

# run NAME COMMAND...: one stage; its name is printed before, its time kept for the end.
run() {
    stage=$1
    shift
    printf '\n==> %s\n' "$stage"
    local start=$SECONDS
    "$@"
    times+=$(printf '%5d s  %s' $((SECONDS - start)) "$stage")$'\n'
}

install_cargo_deny() {
    export PATH="$tools/bin:$PATH"
    [[ $(cargo deny --version 2>/dev/null) == "cargo-deny $cargo_deny" ]] && return
    # The debug build compiles in a third of the time and checks our graph in a few seconds. Not into our target
    # folder: it shares nothing with it.
    local build status=0
    build=$(mktemp -d)
    CARGO_TARGET_DIR=$build CARGO_PROFILE_DEV_DEBUG=false \
        cargo install --quiet --locked --debug --root "$tools" "cargo-deny@$cargo_deny" || status=$?
    rm -rf "$build"
    return "$status"
}

# parse-error: crates that still write `GPL-3.0` for `GPL-3.0-only` in a licence that we need not choose.
deny() { cargo deny "$@" --hide-inclusion-graph --allow parse-error; }

check_dependencies() {
    install_cargo_deny
    deny check licenses bans sources
    # What we publish is held to more: no copyleft, no avoidable duplicates in the operator's binary.
    deny --manifest-path vaultvisor/Cargo.toml --config "$PWD/deny.vaultvisor.toml" check licenses bans
    deny --manifest-path pallets/vault-release/Cargo.toml --config "$PWD/deny.vaultvisor.toml" check licenses
}

# The fuzz project is a workspace of its own.
format() {
    cargo fmt --all --check
    cargo fmt --manifest-path vaultvisor/fuzz/Cargo.toml --check
}

# One selection of packages (--workspace) everywhere: cargo unites the features of what it builds together, and
# another selection would compile the node's 800 dependencies again.
build() { cargo build --workspace --bins --locked; }
# Four at a time: a journey mostly waits, for blocks and for silence to be called silence, so two cores carry twice as many.
# With a limit, several times what they take from cold: one that hangs is to be named in the log, and not to be found
# missing when the whole run is ended from outside.
tests() { RUST_TEST_THREADS=4 timeout --kill-after=10 45m cargo test --workspace --locked 2>&1 | tee "$log"; }
clippy() { cargo clippy --workspace --all-targets --locked -- --deny warnings; }
docs() { RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked; }

printf 'test: takes about 45 minutes the first time on 2 cores (it compiles a whole node), about 17 afterwards\n'
run "set up" ./scripts/setup.sh
run "format" format
run "scripts" shellcheck scripts/*.sh .ci/run
run "threats" ./scripts/check-threats.sh
run "dependencies" check_dependencies
run "build" build
run "clippy" clippy
run "documentation" docs
run "pallet alone" ./scripts/check-pallet.sh
run "tests" tests
# One point of seven, of every scenario: all of them are `scripts/crash-points.sh`.
run "crash points" ./scripts/crash-points.sh --every 7 --first 4

printf '\n%s%5d s  all\n\n' "$times" "$SECONDS"
awk '/^test result: / { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
