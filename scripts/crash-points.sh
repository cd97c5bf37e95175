#!/usr/bin/env bash
# Kills vaultvisor at every point of its journal, store and actions: docs/development.md#crash-points. Prints a table.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

case ${1:-} in
    --help | -h)
        printf 'usage: scripts/crash-points.sh [--every N] [--first N] [--scenario NAME]\n\n'
        printf 'Without options: every point of every scenario, about 3 minutes on 2 cores.\n'
        exit 0
        ;;
esac

./scripts/setup.sh
target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/debug
programs=$(mktemp -d)
readonly target programs
build() { cargo build --workspace --locked "$@"; }

# Under the ordinary name lies, for a moment, a vaultvisor that can kill itself: it is put back whatever happens.
on_exit() {
    rm -rf "$programs"
    build --bins --quiet
}
trap on_exit EXIT

# Only our own library and the one program are compiled again, beside what is there.
build --bin vaultvisor --features vaultvisor/crash-points
cp "$target/vaultvisor" "$programs"
build --bins
cp "$target/vaultvisor-keeper" "$programs"
"$target/crash-points" --programs "$programs" "$@"
