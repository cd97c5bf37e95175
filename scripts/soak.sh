#!/usr/bin/env bash
# T32: a thousand releases with kills at random moments: docs/development.md#soak. Prints what it found as JSON.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
./scripts/setup.sh
cargo build --workspace --bins --locked
target=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
exec "$target/debug/soak" "$@"
