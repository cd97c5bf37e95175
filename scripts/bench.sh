#!/usr/bin/env bash
# Measures Vaultvisor beside others that do a part of its work; what came of it: docs/performance.md.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh [--quick] [--rows LIST] [--vaults LIST] [--json FILE]

Sets up the machine, builds (in release mode too: about 20 minutes more the first time on 2 cores), measures, and prints
a table; about 30 minutes for all rows. The machine should have nothing else to do.

  --quick        fewer repetitions and fewer vaults: to see that everything works, not to be quoted
  --rows LIST    some rows only, such as 3,4
  --vaults LIST  with how many vaults the cost of idleness is measured (1,10,100,500)
  --json FILE    where the same is written as JSON (target/bench.json)
TEXT
}

json=target/bench.json
options=()
while (($# > 0)); do
    case $1 in
        --quick) options+=(--quick) ;;
        --rows) options+=(--rows "${2:?--rows needs a value}") && shift ;;
        --vaults) options+=(--vaults "${2:?--vaults needs a value}") && shift ;;
        --json) json=${2:?--json needs a value} && shift ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done

install_peers() {
    local missing=() pair
    for pair in supervisord:supervisor runsvdir:runit s6-svscan:s6 curl:curl; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    ((${#missing[@]} > 0)) || return 0
    local root=()
    ((EUID == 0)) || root=(sudo)
    # Their programs are wanted and not their services: a policy that forbids to start any, for as long as this takes.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod 755 "$policy"
        # shellcheck disable=SC2064 # What it is now.
        trap "${root[*]} rm -f $policy" EXIT
    fi
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
}

./scripts/setup.sh
install_peers
cargo build --workspace --bins --locked
cargo build --release -p vaultvisor --locked
target/debug/bench --programs target/release --json "$json" "${options[@]}"
