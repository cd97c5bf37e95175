#!/usr/bin/env bash
# Compiles and tests the pallet, exactly as it is, against several releases of the Polkadot SDK.
set -euo pipefail
repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
readonly repo

# From the newest to the oldest that works. Older ones do not: before stable2506 a pallet with events had to declare a
# type `RuntimeEvent` in its `Config`, of which newer ones warn that it is deprecated.
readonly default_releases=(2609 2606 2603 2512 2509 2506)
# What is asked of each release, by the names that scripts/check-pallet.sh gives its stages.
readonly stages=(tests no-std)

usage() {
    cat <<TEXT
usage: scripts/sdk-matrix.sh [--work FOLDER] [RELEASE...]

Compiles the pallet's sources and runs its tests, both unchanged, with the SDK's crates of each RELEASE, and compiles
the pallet for wasm32v1-none. Prints a table in Markdown at the end. Not a part of CI: each release takes about
5 minutes on 2 cores, and all together 3 GB of disk.

  RELEASE         a stable release such as 2603 (its newest patch release counts) or a version of the umbrella crate
                  \`polkadot-sdk\` such as 2604.1.0. Without: ${default_releases[*]}
  --work FOLDER   keep everything there, for the next time; without, all is deleted at the end

Which versions of the SDK's crates belong together is asked of the umbrella crate's own entry in the index of
crates.io. The only thing that changes is these versions in the workspace's Cargo.toml: the pallet's folder is copied.
TEXT
}

say() { printf 'sdk-matrix: %s\n' "$*"; }
fail() {
    printf 'sdk-matrix: error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

work="" keep=false
releases=()
while (($# > 0)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --work)
            (($# > 1)) || fail "--work needs a folder."
            mkdir -p "$2"
            work=$(cd -- "$2" && pwd)
            keep=true
            shift
            ;;
        [0-9][0-9][0-9][0-9] | [0-9][0-9][0-9][0-9].*.*) releases+=("$1") ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
((${#releases[@]} > 0)) || releases=("${default_releases[@]}")
for program in curl jq cargo; do
    command -v "$program" >/dev/null || fail "there is no $program here." "scripts/setup.sh installs what is needed."
done

if ! $keep; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
readonly work keep index=$work/polkadot-sdk.json
# One for all releases: half of what they are made of is the same.
export CARGO_TARGET_DIR=$work/target
# Debug information would double the disk space; nothing here is ever debugged.
export CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0

# umbrella RELEASE: the version of the umbrella crate that stands for it.
#
# A patch release that breaks something gets the next greater number, so what came after `2603.0.0` on the branch
# stable2603 is `2604.0.0`. Releases are three months apart.
umbrella() {
    jq --raw-output --slurp --arg release "$1" '
        map(select(.yanked | not) | { vers, number: (.vers | split(".") | map(tonumber)) })
        | if $release | contains(".") then map(select(.vers == $release))
          else ($release | tonumber) as $first
              | map(select(.number[0] >= $first and .number[0] < $first + 3))
          end
        | max_by(.number).vers // empty' "$index"
}

# write_workspace VERSION FOLDER: a workspace with nothing but the pallet, on that version's crates.
write_workspace() {
    local version=$1 folder=$2
    rm -rf "$folder"
    mkdir -p "$folder/pallets"
    cp -rL "$repo/pallets/vault-release" "$folder/pallets/"
    jq --raw-output --slurp --arg version "$version" '
        map(select(.vers == $version))[0].deps[] | "\(.name) \(.req | ltrimstr("^"))"' "$index" |
        sort -u >"$folder/sdk-versions"
    # The workspace's Cargo.toml with other versions of the SDK, without other members and without profiles.
    awk '
        FILENAME != ARGV[2] { version[$1] = $2; next }
        /^\[/ { section = $0 }
        section == "[workspace]" && /^\[/ { print "[workspace]\nresolver = \"3\"\nmembers = [\"pallets/vault-release\"]\n" }
        section !~ /^\[workspace[.]/ { next }
        section == "[workspace.dependencies]" && / path = "/ { next }
        section == "[workspace.dependencies]" && ($1 in version) { sub(/version = "[^"]*"/, "version = \"" version[$1] "\"") }
        { print }
    ' "$folder/sdk-versions" "$repo/Cargo.toml" >"$folder/Cargo.toml"
    diff --recursive "$repo/pallets/vault-release" "$folder/pallets/vault-release" >&2 ||
        fail "the pallet changed while it was copied; run this again."
}

# locked FOLDER CRATE: the version in Cargo.lock.
locked() { sed -n "/^name = \"$2\"\$/{n;s/^version = \"\\(.*\\)\"\$/\\1/p}" "$1/Cargo.lock" | head -n 1; }

curl --silent --show-error --fail --location --output "$index" \
    https://index.crates.io/po/lk/polkadot-sdk || fail "the index of crates.io did not answer."

rows="" failures=0
for release in "${releases[@]}"; do
    version=$(umbrella "$release")
    [[ -n $version ]] || fail "the umbrella crate polkadot-sdk has no version for $release."
    folder=$work/$version
    say "release $release: polkadot-sdk $version"
    write_workspace "$version" "$folder"
    start=$SECONDS
    results=""
    if (cd -- "$folder" && cargo generate-lockfile --quiet); then
        for stage in "${stages[@]}"; do
            log=$work/$version.$stage.log
            if "$repo/scripts/check-pallet.sh" --root "$folder" "$stage" 2>&1 | tee "$log"; then
                passed=$(awk '/^test result: / { sum += $4 } END { if (sum) print sum " passed"; else print "compiles" }' "$log")
                results+=" $passed |"
            else
                results+=" **fails** |"
                failures=$((failures + 1))
            fi
        done
    else
        failures=$((failures + 1))
        results=" **no such set of crates** | |"
    fi
    name=stable$release
    [[ $release != *.* ]] || name=""
    rows+="| $name | $version | $(locked "$folder" frame-support) | $(locked "$folder" sp-runtime) |$results"$'\n'
    say "release $release took $((SECONDS - start)) s"
done

printf '\n| SDK | polkadot-sdk | frame-support | sp-runtime | tests | no_std |\n|---|---|---|---|---|---|\n%s' "$rows"
((failures == 0)) || fail "$failures of the checks failed."
