#!/usr/bin/env bash
# Simulated lives of a vault, a million steps unless told otherwise: docs/development.md#simulator.
# Not in release mode: compiling every dependency again takes longer than a million steps (about two minutes).
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
exec cargo run --locked -p vaultvisor --example simulate -- "$@"
