#!/usr/bin/env bash
# cargo, of a toolchain that can compile for wasm32v1-none: the active one, or the one that scripts/setup.sh makes where
# rustup cannot download the target. Arguments go to cargo:
#   scripts/wasm-cargo.sh check --package pallet-vault-release --target wasm32v1-none --no-default-features
set -euo pipefail
readonly target=wasm32v1-none

# has_target COMMAND...: whether that rustc has the target's `core`.
has_target() {
    local folder
    folder=$("$@" --print target-libdir --target "$target" 2>/dev/null) && compgen -G "$folder/libcore-*.rlib" >/dev/null
}

if has_target rustc; then exec cargo "$@"; fi
toolchain=${WASM_BUILD_TOOLCHAIN:-substrate-wasm}
if has_target rustup run "$toolchain" rustc; then exec rustup run "$toolchain" cargo "$@"; fi
printf 'wasm-cargo: error: neither the active Rust nor the toolchain %s compiles for %s.\n' "$toolchain" "$target" >&2
printf '       scripts/setup.sh installs what is needed.\n' >&2
exit 1
