#!/usr/bin/env bash
# Checks the pallet as those get it who put it into a runtime of their own: alone, and feature by feature. In the
# workspace it is always compiled together with the mock runtime, whose dependencies bring features along that the
# pallet's own Cargo.toml may have forgotten.
set -euo pipefail

readonly package=pallet-vault-release
readonly folder=pallets/vault-release
readonly wasm_target=wasm32v1-none
readonly all_stages=(no-std features tests clippy package)

usage() {
    cat <<TEXT
usage: scripts/check-pallet.sh [--root FOLDER] [STAGE...]

  no-std     compiles for $wasm_target: without features, and with runtime-benchmarks and try-runtime
  features   compiles with std and runtime-benchmarks, and with std and try-runtime
  tests      runs the tests with all features, so with the benchmarks as tests and the upgrade checks
  clippy     the lints over everything, with all features
  package    makes the .crate file as cargo publish would, looks at what is in it, and compiles what comes out, with
             std alone

Without a STAGE: all of them.

  --root FOLDER   the workspace to look at, instead of the one that this script belongs to
TEXT
}

fail() {
    printf 'check-pallet: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly scripts
root=$scripts/..
stages=()
while (($# > 0)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --root)
            (($# > 1)) || fail "--root needs a folder."
            root=$(cd -- "$2" && pwd)
            shift
            ;;
        no-std | features | tests | clippy | package) stages+=("$1") ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
((${#stages[@]} > 0)) || stages=("${all_stages[@]}")
cd -- "$root"
[[ -f $folder/Cargo.toml ]] || fail "there is no $folder/Cargo.toml in $root."

# As the SDK's wasm builder does it: the flag leaves out what only a host has, without which older releases of the SDK
# do not compile for this target.
check_wasm() {
    RUSTFLAGS="--cfg substrate_runtime" "$scripts/wasm-cargo.sh" check --package "$package" --locked --target "$wasm_target" --no-default-features "$@"
}

no_std() {
    check_wasm
    check_wasm --features runtime-benchmarks,try-runtime
}

features() {
    local feature
    for feature in runtime-benchmarks try-runtime; do
        cargo check --package "$package" --locked --features "$feature"
    done
}

tests() { cargo test --package "$package" --locked --all-features; }

clippy() { cargo clippy --package "$package" --locked --all-features --all-targets -- --deny warnings; }

# What users get: the licence, the readme and all sources, and nothing else.
check_content() {
    local content=$1 unexpected file
    for file in Cargo.toml LICENSE README.md src/lib.rs; do
        grep -qxF "$file" <<<"$content" || fail "the package has no $file."
    done
    unexpected=$(grep -vxE '(Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json|LICENSE|README\.md|src/[a-z_/]+\.rs)' <<<"$content") || true
    [[ -z $unexpected ]] || fail "the package has files that nobody needs:" "$unexpected"
}

package() {
    local content
    # Changes that are not committed are looked at too.
    content=$(cargo package --package "$package" --locked --allow-dirty --list)
    check_content "$content"
    # What is compiled is a workspace of its own, without our profile: no debug information here either.
    CARGO_PROFILE_DEV_DEBUG=false cargo package --package "$package" --locked --allow-dirty
}

times=""
stage=starting
on_exit() {
    local code=$?
    if ((code != 0)); then printf '\ncheck-pallet: FAILED in stage: %s\n' "$stage" >&2; fi
}
trap on_exit EXIT

for stage in "${stages[@]}"; do
    printf '\n==> pallet: %s\n' "$stage"
    start=$SECONDS
    case $stage in
        no-std) no_std ;;
        *) "$stage" ;;
    esac
    times+=$(printf '%5d s  %s' $((SECONDS - start)) "$stage")$'\n'
done
printf '\n%s%5d s  all\n' "$times" "$SECONDS"
