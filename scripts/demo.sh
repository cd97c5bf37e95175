#!/usr/bin/env bash
# Shows an update as it happens: a local chain whose governance states a release, a release server, and Vaultvisor
# with Debian's Redis in the place of a vault, in two different builds.
set -euo pipefail
# Each background process in a group of its own: Ctrl-C is ours to handle, and reaches nobody by surprise.
set -m
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/demo.sh [--keep]

Sets up the machine, builds, and shows Vaultvisor replace a running daemon on the word of a chain: about 30 minutes
the first time on 2 cores (it compiles a whole node), about a minute afterwards. Ends by itself and leaves nothing
behind.

  --keep   stay up afterwards, and say how to go on by hand; Ctrl-C ends it
TEXT
}

keep=false
for argument in "$@"; do
    case $argument in
        --keep) keep=true ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done

step=0
say() { printf '%s\n' "$*"; }
step() {
    step=$((step + 1))
    printf '\n[%d] %s\n' "$step" "$*"
}
detail() { printf '    %-12s %s\n' "$1" "$2"; }

work="" chain_pid="" server_pid="" vaultvisor_pid=""

is_running() { [[ -n $1 ]] && kill -0 "$1" 2>/dev/null; }

# stop PID: SIGTERM, and SIGKILL for one that does not end within its time.
stop() {
    is_running "$1" || return 0
    kill -TERM "$1" 2>/dev/null || true
    for _ in {1..300}; do
        is_running "$1" || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
}

clean_up() {
    local code=$?
    trap '' INT TERM
    trap - EXIT
    if ((code != 0)) && [[ -n $work ]]; then
        local log
        for log in "$work"/*.log "$work"/home/vaults/*/log/vault.log; do
            [[ -s $log ]] || continue
            printf '\n---- the end of %s\n' "${log#"$work"/}" >&2
            tail -n 30 "$log" >&2
        done
        printf '\ndemo: failed in step %d (exit code %d)\n' "$step" "$code" >&2
    fi
    # Vaultvisor first: it stops its vault.
    stop "$vaultvisor_pid"
    stop "$server_pid"
    stop "$chain_pid"
    if [[ -n $work ]]; then
        # If vaultvisor was killed its vault lives on, as it should; this one is only ours.
        local process
        for process in /proc/[0-9]*; do
            [[ $(readlink "$process/exe" 2>/dev/null) == "$work"/* ]] || continue
            kill -KILL "${process#/proc/}" 2>/dev/null || true
        done
        rm -rf "$work"
    fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# wait_for WHAT COMMAND...: until the command succeeds, at most a minute.
wait_for() {
    local what=$1
    shift
    for _ in {1..600}; do
        "$@" && return
        local pid
        for pid in "$chain_pid" "$server_pid" "$vaultvisor_pid"; do
            [[ -z $pid ]] || is_running "$pid" || { say "demo: a process ended while waiting for $what" >&2 && return 1; }
        done
        sleep 0.1
    done
    say "demo: waited a minute for $what" >&2
    return 1
}

status() { "$bin/vaultvisor" status --json --config "$config" 2>/dev/null; }

# What the vault's status says now, one line; printed whenever it changed.
last_seen=""
show_progress() {
    local seen
    seen=$(status | jq -r '.vaults[0] | "\(.state)\(if .running then ", \(.running.version) as pid \(.running.pid)" else "" end)"') || return 0
    if [[ $seen != "$last_seen" ]]; then
        last_seen=$seen
        detail "vaultvisor" "$seen"
    fi
}

# runs VERSION: whether the vault runs that release, and it was kept.
runs() {
    show_progress
    [[ $(status | jq -r '.vaults[0] | "\(.state) \(.running.version)"') == "running $1" ]]
}

redis() { redis-cli -p "$redis_port" "$@" 2>/dev/null; }
answers() { [[ $(redis PING) == PONG ]]; }

# publish VERSION: governance's part, here the development chain's sudo key.
publish() {
    local file=$work/releases/$1/vault-dev published
    detail "checksum" "$(sha256sum "$file" | cut -d ' ' -f 1)"
    published=$("$bin/vaultvisor" release publish --endpoint "$rpc" --suri //Alice --version "$1" --binary "$file" --json)
    detail "block" "$(jq -r '"\(.block), \(if .finalized then "finalized" else "not final" end)"' <<<"$published")"
}

free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000))
        # Nobody takes a connection there.
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    printf '%s\n' "$port"
}

say "demo: about 30 minutes the first time on 2 cores (it compiles a whole node), about a minute afterwards"
step "setting up and building"
./scripts/setup.sh
cargo build --workspace --bins --locked
bin=$(cargo metadata --format-version 1 --no-deps | jq -r .target_directory)/debug
readonly bin
work=$(mktemp -d)
readonly work config=$work/vaultvisor.json

step "starting a chain: one authority, a block a second, real finality"
"$bin/dev-chain" --rpc-port 0 >"$work/ready.json" 2>"$work/dev-chain.log" &
chain_pid=$!
wait_for "the chain" test -s "$work/ready.json"
rpc=$(jq -r .rpc "$work/ready.json")
readonly rpc
detail "rpc" "$rpc"
detail "genesis" "$(jq -r .genesis "$work/ready.json")"
detail "pid" "$chain_pid"

step "making two releases of one daemon, Debian's Redis, and serving them"
redis_program=$(command -v redis-server || command -v redis-check-rdb)
mkdir -p "$work/releases/1.0.0" "$work/releases/2.0.0"
cp -L "$redis_program" "$work/releases/1.0.0/vault-dev"
# Another build of the same program: a note in a section of its own, which changes nothing but the checksum.
printf 'release 2.0.0\n' >"$work/note"
objcopy --add-section .vaultvisor.demo="$work/note" "$work/releases/1.0.0/vault-dev" "$work/releases/2.0.0/vault-dev"
"$bin/release-server" "$work/releases" >"$work/releases.url" 2>"$work/release-server.log" &
server_pid=$!
wait_for "the release server" test -s "$work/releases.url"
releases=$(<"$work/releases.url")
readonly releases
detail "1.0.0" "$releases/1.0.0/vault-dev (as Debian packages it)"
detail "2.0.0" "$releases/2.0.0/vault-dev (the same, built differently)"
detail "pid" "$server_pid"

step "governance states release 1.0.0"
publish 1.0.0

step "starting vaultvisor"
redis_port=$(free_port)
readonly redis_port
mkdir -m 700 "$work/home" "$work/lock" "$work/data"
jq -n --arg work "$work" --arg rpc "$rpc" --arg releases "$releases" --arg port "$redis_port" '{
    home: "\($work)/home",
    lock_dir: "\($work)/lock",
    networks: { dev: { endpoints: [$rpc], release_urls: ["\($releases)/{version}/vault-{network}"] } },
    vaults: { "demo": {
        network: "dev",
        account: "demo",
        args: ["--bind", "127.0.0.1", "--port", $port, "--dir", "\($work)/data", "--appendonly", "yes", "--save", ""],
        stop: { signal: "SIGINT", grace_secs: 20 },
        probation: { secs: 3 }
    } }
}' >"$config"
"$bin/vaultvisor" run --config "$config" 2>"$work/vaultvisor.log" &
vaultvisor_pid=$!
detail "config" "$config"
detail "pid" "$vaultvisor_pid"
wait_for "release 1.0.0 to run" runs 1.0.0
wait_for "Redis to answer" answers
old_pid=$(status | jq -r '.vaults[0].running.pid')
detail "running" "1.0.0 as pid $old_pid, $(readlink "/proc/$old_pid/exe")"
detail "SET" "$(redis SET greeting "written under release 1.0.0")"
detail "PING" "$(redis PING)"

step "governance states release 2.0.0: vaultvisor fetches and proves it while the old one runs, then switches"
publish 2.0.0
wait_for "release 2.0.0 to run" runs 2.0.0
wait_for "Redis to answer" answers
new_pid=$(status | jq -r '.vaults[0].running.pid')
[[ $new_pid != "$old_pid" ]] || { say "demo: the pid did not change" >&2 && exit 1; }
! is_running "$old_pid" || { say "demo: the old process still runs" >&2 && exit 1; }
detail "old" "pid $old_pid, ended by SIGINT"
detail "new" "pid $new_pid, $(readlink "/proc/$new_pid/exe")"
detail "checksum" "$(sha256sum "/proc/$new_pid/exe" | cut -d ' ' -f 1)"
detail "downtime" "$(status | jq -r '.vaults[0].last_switch.downtime_ms') ms from the end of the old process to the start of the new"

step "asking the new process for the old one's data"
detail "PING" "$(redis PING)"
greeting=$(redis GET greeting)
detail "GET" "$greeting"
[[ $greeting == "written under release 1.0.0" ]] || { say "demo: the data is not what was written" >&2 && exit 1; }

if $keep; then
    step "staying up; Ctrl-C ends it all"
    say "    $bin/vaultvisor status --config $config"
    say "    $bin/vaultvisor release show --endpoint $rpc"
    say "    $bin/vaultvisor release publish --endpoint $rpc --suri //Alice --version 1.0.0 --binary $work/releases/1.0.0/vault-dev"
    say "    redis-cli -p $redis_port GET greeting"
    say "    tail -f $work/vaultvisor.log"
    wait "$vaultvisor_pid"
else
    step "done: stopping everything"
fi
