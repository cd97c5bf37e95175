#!/usr/bin/env bash
# Brings a fresh Debian (12 or newer) or Ubuntu machine with rustup to a working build of this workspace.
# Safe to run again: what is there stays as it is.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/setup.sh [--debian-wasm]

Installs what the build, the tests and the demo need:
  1. Debian packages: compilers and libraries of the node's dependencies, the Redis programs and jq.
     Only this step needs root; without root it uses sudo, and where nothing is missing it needs neither.
  2. the Rust target wasm32v1-none, for the mock runtime: by rustup, or, where rustup cannot download it,
     built from Debian's packages of the Rust sources.
Takes a minute or two the first time, about a second afterwards.

  --debian-wasm   build the wasm target from Debian's packages even where rustup could download it
TEXT
}

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

force_debian_wasm=false
for argument in "$@"; do
    case $argument in
        --debian-wasm) force_debian_wasm=true ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
readonly repo
readonly cache="$HOME/.cache/vaultvisor"
# The name under which rustup knows the toolchain that we make; WASM_BUILD_TOOLCHAIN of the SDK's wasm builder.
readonly wasm_toolchain=substrate-wasm
readonly wasm_target=wasm32v1-none
readonly cargo_config="$repo/.cargo/config.toml"
readonly cargo_config_mark='# Written by scripts/setup.sh'

# build-essential      linker, make and perl for C dependencies (OpenSSL and Binaryen among them), objcopy for the demo
# cmake                Binaryen
# clang, libclang-dev  bindgen in the node's dependencies
# protobuf-compiler    the node's network protocols
# pkg-config, ca-certificates  finding libraries; TLS roots
# libfaketime          the journeys in which a daemon's wall clock jumps
# redis-tools          the Redis daemon, a real program in the place of a vault: /usr/bin/redis-check-rdb is the same
#                      file as redis-server, which decides by its name what it is. The package `redis-server` would
#                      add no file of interest but start a service.
# strace               the journeys in which power is lost (it tells which writes were synced, and when) and those in which a
#                      disk fails (it has system calls fail)
# openssl              the journey with a release server whose certificate nobody trusts
# jq, shellcheck       the demo reads the status with the one, scripts/test.sh checks our scripts with the other
readonly packages=(build-essential ca-certificates clang cmake jq libclang-dev libfaketime openssl pkg-config protobuf-compiler redis-tools shellcheck strace)
readonly wasm_packages=(cargo-web rust-web-src rustc-web lld)

check_system() {
    local name=${PRETTY_NAME:-unknown} id=${ID:-unknown} like=${ID_LIKE:-}
    if [[ -r /etc/os-release ]]; then
        # shellcheck source=/dev/null
        . /etc/os-release
        name=${PRETTY_NAME:-$id} id=${ID:-unknown} like=${ID_LIKE:-}
    fi
    if [[ " $id $like " =~ \ (debian|ubuntu)\  ]] && command -v apt-get >/dev/null; then
        return
    fi
    case " $id $like $(uname -s) " in
        *" fedora "* | *" rhel "*)
            fail "this script installs packages on Debian and Ubuntu only; this is $name. Here:" \
                "sudo dnf install gcc gcc-c++ make perl cmake clang clang-devel pkgconf-pkg-config protobuf-compiler protobuf-devel redis jq" \
                "rustup target add $wasm_target" \
                "cargo build --workspace --bins" ;;
        *" arch "*)
            fail "this script installs packages on Debian and Ubuntu only; this is $name. Here:" \
                "sudo pacman -S --needed base-devel cmake clang protobuf redis jq" \
                "rustup target add $wasm_target" \
                "cargo build --workspace --bins" ;;
        *" Darwin "*)
            fail "vaultvisor supervises Linux processes (pidfd, /proc, flock) and does not run on macOS." \
                "Use a Linux machine, a virtual machine or a container (Debian 12 is what we test on)." ;;
        *)
            fail "this script installs packages on Debian and Ubuntu only; this is $name ($(uname -s))." \
                "Install what these Debian packages hold: ${packages[*]}" \
                "then: rustup target add $wasm_target && cargo build --workspace --bins" ;;
    esac
}

check_rust() {
    command -v rustup >/dev/null || fail "rustup is not installed (or not in PATH)." \
        "Install it as https://rustup.rs says:" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" \
        "and open a new shell, or: . \"\$HOME/.cargo/env\""
    command -v cargo >/dev/null || fail "cargo is not in PATH although rustup is." ". \"\$HOME/.cargo/env\""
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repo/Cargo.toml")
    found=$(rustc --version | cut -d ' ' -f 2) || fail "rustup has no default toolchain." "rustup default stable"
    at_least "$found" "$wanted" || fail "the active Rust is $found, this workspace needs $wanted or newer." \
        "rustup update stable && rustup default stable"
    say "Rust $found (needs $wanted)"
}

# at_least FOUND WANTED: compares dotted versions.
at_least() { [[ $(printf '%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]; }

install_packages() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        say "Debian packages are there: $*"
        return
    fi
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "these Debian packages are missing, and installing them needs root:" \
            "apt-get install ${missing[*]}" "Run that as root, then run this script again (root is not needed for the rest)."
        root=(sudo)
        say "sudo may ask for your password: installing packages needs root, nothing else does"
    fi
    say "installing Debian packages: ${missing[*]}"
    "${root[@]}" apt-get update -qq
    # --no-remove: other people's packages are theirs, we rather fail and say so.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends --no-remove "${missing[@]}" >/dev/null
}

# Whether a Rust (given as a command prefix) can compile for the wasm target.
has_wasm_target() {
    local folder
    folder=$("$@" --print target-libdir --target "$wasm_target" 2>/dev/null) &&
        compgen -G "$folder/libcore-*.rlib" >/dev/null
}

# What the SDK's wasm builder must know when the active toolchain lacks the target. A cargo setting and not a
# variable of some shell, so that a plain `cargo test` works too.
write_cargo_config() {
    local setting="WASM_BUILD_TOOLCHAIN = \"$1\""
    if [[ -e $cargo_config ]] && ! grep -q "^$cargo_config_mark" "$cargo_config"; then
        grep -qF "$setting" "$cargo_config" && return
        fail "$cargo_config is yours, so it stays as it is. Add to it:" "[env]" "$setting"
    fi
    local text
    text=$(printf '%s: rustup could not install %s here.\n[env]\n%s\n' "$cargo_config_mark" "$wasm_target" "$setting")
    [[ -e $cargo_config && $(<"$cargo_config") == "$text" ]] && return
    mkdir -p "$repo/.cargo"
    printf '%s\n' "$text" >"$cargo_config"
    say "wrote $cargo_config: the runtime is compiled by the toolchain \`$1\`"
}

forget_cargo_config() {
    if [[ -e $cargo_config ]] && grep -q "^$cargo_config_mark" "$cargo_config"; then
        rm "$cargo_config"
        say "removed $cargo_config: the active toolchain has $wasm_target itself"
    fi
}

# The wasm target out of Debian's packages: Debian ships the Rust sources, so `core` and `alloc` are built from
# them and put into a sysroot of our own under ~/.cache. Nothing under /usr is written.
make_debian_wasm() {
    local sysroot="$cache/$wasm_toolchain" wanted
    apt-cache show rustc-web >/dev/null 2>&1 || fail \
        "rustup cannot install $wasm_target, and this system has no package rustc-web (Debian 12 and newer have)." \
        "Give rustup a way to https://static.rust-lang.org (proxies: HTTPS_PROXY; mirrors: RUSTUP_DIST_SERVER)," \
        "then run this script again."
    install_packages "${wasm_packages[@]}"
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repo/Cargo.toml")
    local found host
    found=$(/usr/bin/rustc --version | cut -d ' ' -f 2)
    at_least "$found" "$wanted" || fail "Debian's rustc-web is $found, the runtime needs $wanted or newer." \
        "Newer ones come from Debian's security archive (bookworm-security main): add it to the apt sources."
    host=$(/usr/bin/rustc --version --verbose | sed -n 's/^host: //p')

    if [[ -e $sysroot/built-from && $(<"$sysroot/built-from") == "$(/usr/bin/rustc --version --verbose)" ]] &&
        has_wasm_target "$sysroot/bin/rustc"; then
        say "the wasm target of Debian's Rust $found is there: $sysroot"
    else
        say "building core and alloc for $wasm_target with Debian's Rust $found (half a minute, once)"
        local work="$cache/$wasm_toolchain.new"
        rm -rf "$work"
        mkdir -p "$work/crate/src"
        printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$work/crate/Cargo.toml"
        printf '#![no_std]\n' >"$work/crate/src/lib.rs"
        # Without embedded bitcode the runtime's LTO fails with "Can't find section .llvmbc".
        (cd "$work/crate" && env -u CARGO_BUILD_TARGET RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
            CARGO_TARGET_DIR="$work/target" /usr/bin/cargo build --quiet --release -Zbuild-std=core,alloc --target "$wasm_target")
        local wasm_lib="$work/lib/rustlib/$wasm_target/lib" host_folder="$work/lib/rustlib/$host"
        mkdir -p "$wasm_lib" "$host_folder/bin" "$work/bin"
        cp "$work/target/$wasm_target/release/deps/"lib{core,alloc,compiler_builtins}-*.rlib "$wasm_lib/"
        # The rest of the sysroot is Debian's.
        ln -s "/usr/lib/rustlib/$host/lib" "$host_folder/lib"
        ln -s "$(command -v rust-lld || command -v lld)" "$host_folder/bin/rust-lld"
        ln -s /usr/bin/cargo "$work/bin/cargo"
        # rustc looks for its sysroot beside itself, where ours is not.
        printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot "%s" "$@"\n' "$sysroot" >"$work/bin/rustc"
        chmod +x "$work/bin/rustc"
        /usr/bin/rustc --version --verbose >"$work/built-from"
        rm -rf "$work/crate" "$work/target" "$sysroot"
        mv "$work" "$sysroot"
        # What other compilers left there does not fit the new one.
        rm -rf "${CARGO_TARGET_DIR:-$repo/target}"/*/wbuild
    fi
    if [[ $(readlink -- "${RUSTUP_HOME:-$HOME/.rustup}/toolchains/$wasm_toolchain") != "$sysroot" ]]; then
        rustup toolchain link "$wasm_toolchain" "$sysroot"
    fi
    has_wasm_target rustup run "$wasm_toolchain" rustc ||
        fail "the toolchain $wasm_toolchain ($sysroot) has no $wasm_target after all; remove that folder and run this again."
    write_cargo_config "$wasm_toolchain"
}

setup_wasm() {
    if $force_debian_wasm; then
        make_debian_wasm
    elif [[ -n ${WASM_BUILD_TOOLCHAIN:-} ]]; then
        has_wasm_target rustup run "$WASM_BUILD_TOOLCHAIN" rustc ||
            fail "WASM_BUILD_TOOLCHAIN is $WASM_BUILD_TOOLCHAIN, a toolchain without $wasm_target." "Unset it, or add the target to it."
        say "the runtime is compiled by the toolchain $WASM_BUILD_TOOLCHAIN, as WASM_BUILD_TOOLCHAIN says"
    elif has_wasm_target rustc; then
        say "$wasm_target is there"
        forget_cargo_config
    else
        say "rustup target add $wasm_target"
        # Five minutes for 20 MB: a slow line passes, a firewall that swallows packets does not hold us for long.
        if timeout 300 rustup target add "$wasm_target" && has_wasm_target rustc; then
            forget_cargo_config
        else
            say "rustup cannot download $wasm_target here: taking it from Debian's packages"
            make_debian_wasm
        fi
    fi
}

setup_components() {
    local component
    for component in rustfmt clippy; do
        "cargo-${component/rust/}" --version >/dev/null 2>&1 || rustup component add "$component" ||
            say "warning: no $component here; the build and the demo work without it, scripts/test.sh does not"
    done
}

check_system
check_rust
install_packages "${packages[@]}"
setup_wasm
setup_components
say "ready"
