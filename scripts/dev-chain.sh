#!/usr/bin/env bash
# Starts the local development chain; builds it first if needed. Options go to the node:
#   scripts/dev-chain.sh --rpc-port 9944 --base-path /tmp/my-chain
# Prints one line of JSON on stdout when it is ready; logs go to stderr. Ctrl-C or SIGTERM ends it.
set -euo pipefail
repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

if ! command -v jq >/dev/null; then "$repo/scripts/setup.sh" >&2; fi
# All programs of the workspace, because another selection would compile the node's dependencies again. The first
# time takes about 30 minutes on 2 cores.
cargo build --manifest-path "$repo/Cargo.toml" --workspace --bins --locked
target=$(cargo metadata --manifest-path "$repo/Cargo.toml" --format-version 1 --no-deps | jq -r .target_directory)
# exec: signals reach the node itself.
exec "$target/debug/dev-chain" "$@"
