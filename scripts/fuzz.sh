#!/usr/bin/env bash
# Fuzzes everything that Vaultvisor reads from outside, for minutes each. Every test run does seconds of it:
# vaultvisor/tests/fuzz_corpus.rs.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
    printf 'usage: scripts/fuzz.sh [--seconds N] [--at-once N] [TARGET...]\n\n'
    printf 'Builds the fuzz targets (some minutes the first time) and runs each for N seconds (600), two at a time.\n'
    printf 'Exits 1 if a promise was broken, and names the file that breaks it. Targets:\n'
    printf '  %s\n' "${all[@]}"
}

readonly project=vaultvisor/fuzz
all=("$project"/fuzz_targets/*.rs)
all=("${all[@]##*/}")
all=("${all[@]%.rs}")
seconds=600
at_once=2
targets=()
while (($#)); do
    case $1 in
        --seconds | --at-once)
            [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
            if [[ $1 == --seconds ]]; then seconds=$2; else at_once=$2; fi
            shift
            ;;
        --help | -h) usage; exit 0 ;;
        *)
            [[ -f $project/fuzz_targets/$1.rs ]] || { usage >&2; exit 2; }
            targets+=("$1")
            ;;
    esac
    shift
done
((${#targets[@]})) || targets=("${all[@]}")

# Pinned: another version may build with other flags.
readonly cargo_fuzz=0.13.2
readonly tools=$HOME/.cache/vaultvisor/tools
export PATH="$tools/bin:$PATH"
if [[ $(cargo fuzz --version 2>/dev/null) != "cargo-fuzz $cargo_fuzz" ]]; then
    build=$(mktemp -d)
    CARGO_TARGET_DIR=$build CARGO_PROFILE_DEV_DEBUG=false \
        cargo install --quiet --locked --debug --root "$tools" "cargo-fuzz@$cargo_fuzz"
    rm -rf "$build"
fi

# No sanitizer: what is fuzzed is our own safe Rust (`unsafe_code` is denied outside process/raw.rs, which parses nothing),
# so a broken promise is a panic, an endless loop or too much memory, and libFuzzer sees all three. Without one it runs
# several times as often. Debug assertions are on: an overflow is a panic. The stable toolchain does all of this.
triple=$(rustc -vV | sed -n 's/^host: //p')
(cd vaultvisor && cargo fuzz build --target "$triple" --sanitizer none --strip-dead-code)
programs=${CARGO_TARGET_DIR:-$project/target}/$triple/release

# Not a disk's: some readers read files. Nothing is left of it, also of what was killed.
scratch=$(mktemp -d -p "$([[ -d /dev/shm ]] && echo /dev/shm || echo /tmp)" vaultvisor-fuzz-XXXXXX)
trap 'jobs -p | xargs -r kill 2>/dev/null; wait; rm -rf "$scratch"' EXIT

# What is found on the way is kept for the next run, beside the corpus that is committed.
work=$project/target/fuzzing
printf 'fuzz: %d targets, %d at a time, %d s each\n' "${#targets[@]}" "$at_once" "$seconds"
for target in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= at_once)); do wait -n || true; done
    mkdir -p "$work/$target" "$project/artifacts/$target"
    # Ten seconds and a gigabyte are a thousand times what any reader takes.
    TMPDIR=$scratch "$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$project/artifacts/$target/" \
        "$work/$target" "$project/corpus/$target" >"$work/$target.log" 2>&1 &
done
wait

found=0
printf '\n%-22s %12s %8s %9s  %s\n' target executions edges features findings
for target in "${targets[@]}"; do
    log=$work/$target.log
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    read -r edges features < <(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 \2/p' "$log" | tail -n 1) || true
    finding=none
    # Its last words, unless it was stopped by something.
    if ! grep -q '^Done [0-9]* runs' "$log"; then
        found=1
        finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        finding=${finding:-see $log}
    fi
    printf '%-22s %12s %8s %9s  %s\n' "$target" "${executions:--}" "${edges:--}" "${features:--}" "$finding"
done
exit "$found"
