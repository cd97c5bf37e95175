#!/usr/bin/env bash
# What the snapshot of a vault's data costs, and the way back from a migration that ruined it: Debian's Redis with a
# gigabyte, against plain `cp -a` of the same folder in the same run. Needs 6 GB below TMPDIR and 3 GB of memory.
#
# usage: scripts/snapshot-bench.sh [MEGABYTES]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

cargo build --locked --workspace --bins
printf 'machine   %s cores, %s, %s of memory, Linux %s\n' "$(nproc)" \
    "$(sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo)" \
    "$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)" "$(uname -r)"
printf 'folder    %s (%s)\n' "${TMPDIR:-/tmp}" "$(stat --file-system --format %T "${TMPDIR:-/tmp}")"
exec "${CARGO_TARGET_DIR:-target}/debug/snapshot-bench" "$@"
