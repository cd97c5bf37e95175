#!/usr/bin/env bash
# Measures what the pallet's calls cost and writes pallets/vault-release/src/weights.rs from it.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# The release that belongs to the workspace's SDK, stable2609: both know the same host functions.
readonly bencher_version=0.28.0
readonly tools=$HOME/.cache/vaultvisor/tools
readonly bencher=$tools/bin/frame-omni-bencher
readonly wasm_target=wasm32v1-none
# A profile of its own, `release` as the SDK's wasm builder changes it, and so a folder of its own: no other build
# may ever find a runtime with benchmarks where it expects one without.
readonly profile=benchmark
readonly pallet=pallet_vault_release
readonly sources=pallets/vault-release/src
readonly template=scripts/pallet-weights.hbs

usage() {
    cat <<TEXT
usage: scripts/benchmark-pallet.sh [--steps N] [--repeat N] [--output FILE]

Compiles the mock runtime with its benchmarks, runs those of the pallet with frame-omni-bencher $bencher_version, and writes
what was measured as Rust. Run it after every change of what a call or hook does, on a machine that does nothing else:
two minutes after a change of the pallet, on 2 cores; the first time 5 more for the runtime's dependencies, and half
an hour more to install frame-omni-bencher.

  --steps N       values to try for each variable of a benchmark, default 50
  --repeat N      measurements of each, default 20
  --output FILE   where the result goes, default $sources/weights.rs. For a quick look:
                  scripts/benchmark-pallet.sh --steps 2 --repeat 1 --output /tmp/weights.rs
TEXT
}

say() { printf 'benchmark-pallet: %s\n' "$*"; }
fail() {
    printf 'benchmark-pallet: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

steps=50 repeat=20 output=$sources/weights.rs
while (($# > 0)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --steps | --repeat | --output)
            (($# > 1)) || fail "$1 needs a value."
            case $1 in
                --output) output=$2 ;;
                *)
                    [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1 needs a number, not \`$2\`."
                    printf -v "${1#--}" '%s' "$2"
                    ;;
            esac
            shift
            ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
# The linear regression needs two points.
((steps >= 2)) || fail "--steps needs 2 at least."
[[ -d $(dirname -- "$output") ]] || fail "there is no folder $(dirname -- "$output")."
for program in jq protoc; do
    command -v "$program" >/dev/null || fail "there is no $program here." "scripts/setup.sh installs what is needed."
done
[[ -f $sources/benchmarking.rs ]] || fail "the pallet has no benchmarks: there is no $sources/benchmarking.rs."

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

# Optimized, since the time of the host functions is part of what is measured.
install_bencher() {
    [[ $("$bencher" --version 2>/dev/null) == "frame-omni-bencher $bencher_version" ]] && return
    say "installing frame-omni-bencher $bencher_version into $tools"
    CARGO_TARGET_DIR=$work/bencher cargo install --locked --root "$tools" "frame-omni-bencher@$bencher_version"
    rm -rf "$work/bencher"
}

# With the flags and the profile of the SDK's wasm builder. Not by the runtime's build script, which would compile
# everything natively first, and the upgraded runtimes too: four times as long for the same code.
build_runtime() {
    RUSTFLAGS="-C link-arg=--export-table -C link-arg=--import-memory -C link-arg=--export=__heap_base --cfg substrate_runtime" \
        scripts/wasm-cargo.sh rustc --package runtime-mock --lib --crate-type cdylib --locked \
        --target "$wasm_target" --no-default-features --features runtime-benchmarks --profile "$profile" \
        --config "profile.$profile.inherits='release'" --config "profile.$profile.panic='abort'" \
        --config "profile.$profile.strip='none'"
    runtime=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/$wasm_target/$profile/runtime_mock.wasm
    [[ -f $runtime ]] || fail "the build succeeded, but there is no $runtime."
}

# Proof sizes as measured, with what a larger trie adds: the benchmarks fill both releases to the bounds. By default the
# tool takes the bound of the larger of the two instead, not their sum, which is less than what was measured.
measure() {
    "$bencher" v1 benchmark pallet --runtime "$runtime" --genesis-builder runtime \
        --pallet "$pallet" --extrinsic '*' --steps "$steps" --repeat "$repeat" --default-pov-mode measured \
        --template "$template" --output "$work/weights.rs"
}

# The tool leaves out what it could not run, and a benchmark that reads what it does not know has no proof size.
check_result() {
    local name expected
    expected=$(sed -n '/#\[benchmark\]/,/fn /s/^ *fn \([a-z0-9_]*\).*/\1/p' "$sources/benchmarking.rs")
    [[ -n $expected ]] || fail "found no #[benchmark] in $sources/benchmarking.rs."
    for name in $expected; do
        [[ $(grep -c "fn $name(" "$work/weights.rs") == 3 ]] || fail "there is no result for the benchmark $name."
    done
    ! grep 'UNKNOWN KEY' "$work/weights.rs" >&2 || fail "a benchmark touches storage that belongs to no pallet."
    ! grep 'Weight::from_parts(0, ' "$work/weights.rs" >&2 || fail "a benchmark cost no time at all."
}

install_bencher
say "compiling the mock runtime with its benchmarks"
build_runtime
read -r load _ </proc/loadavg
say "measuring; the machine's load is $load, and what else runs makes the results worse"
measure
check_result
rustfmt --edition "$(sed -n 's/^edition = "\(.*\)"$/\1/p' Cargo.toml)" --config-path rustfmt.toml "$work/weights.rs"
cp "$work/weights.rs" "$output"
say "wrote $output; run the pallet's tests, then commit it"
