#!/usr/bin/env bash
# Shows that the tests notice what they are there for: docs/development.md#sabotage.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/sabotage.sh [DEFECT...]

Builds Vaultvisor with one defect after the other (cargo features of debug builds), runs the test that must notice it,
and fails if the test passes, or fails for another reason. About 2 minutes for each of:

  lock,record  neither the lock nor what is written in it keeps anybody out: two vaultvisors run two vaults
  lock         the lock keeps nobody out: the record in it still does, and the test passes
  record       a lock that is free is believed: a vault that closed its descriptors is doubled
  sync         nothing is made durable: a power loss leaves what cannot be recovered from
  checksum     bytes are not compared with the checksum that the chain states: others are run
TEXT
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit 0; }

# What other tests and scripts run afterwards must have no defect.
# shellcheck disable=SC2317 # It is what the trap runs.
restore() {
    cargo build --workspace --bins --locked --quiet
}
trap restore EXIT

log=$(mktemp)
failed=0

# report DEFECTS OUTCOME
report() { printf '%-12s  %s\n' "$1" "$2"; }

# run_test DEFECTS TARGET TEST: with the defects built in; its output goes to the log.
run_test() {
    local features=() defect
    for defect in ${1//,/ }; do features+=(--features "vaultvisor/defect-$defect"); done
    # The journeys run programs that cargo does not build for a test.
    cargo build --workspace --bins --locked --quiet "${features[@]}"
    cargo test --workspace --locked --quiet "${features[@]}" --test "$2" --no-run
    cargo test --workspace --locked --quiet "${features[@]}" --test "$2" -- --exact "$3" &>"$log"
}

# notices DEFECTS TARGET TEST WORDS: the test must fail, and say WORDS (a regular expression).
notices() {
    wanted "$1" || return 0
    if run_test "$1" "$2" "$3"; then
        report "$1" "NOT NOTICED by $3"
        failed=1
    elif grep --quiet --extended-regexp "$4" "$log"; then
        report "$1" "noticed by $3: $(grep --extended-regexp --only-matching --max-count 1 "$4" "$log")"
    else
        report "$1" "$3 failed, but not by saying: $4"
        tail --lines 40 "$log"
        failed=1
    fi
}

# withstands DEFECTS TARGET TEST: something else must make up for the defect.
withstands() {
    wanted "$1" || return 0
    if run_test "$1" "$2" "$3"; then
        report "$1" "made up for, in $3"
    else
        report "$1" "NOT made up for, in $3"
        tail --lines 40 "$log"
        failed=1
    fi
}

chosen=("$@")
wanted() {
    local defect
    ((${#chosen[@]} > 0)) || return 0
    for defect in "${chosen[@]}"; do [[ $defect != "$1" ]] || return 0; done
    return 1
}

other_home=two_vaultvisors::t02_a_vaultvisor_of_another_home_starts_no_second_vault_and_exits_3
notices lock,record journeys "$other_home" 'two vaults at one instant|another vault was alive when this one started'
withstands lock journeys "$other_home"
notices record keeper survivors::t04_what_gave_up_the_lock_and_lost_its_keeper_is_ended_before_anything_is_started \
    'started beside an earlier one'
notices sync journeys power_loss::t05_after_a_power_loss_at_any_call_of_a_start_and_a_switch_it_recovers_by_itself \
    'waited .* for the vault to run 2.0.0'
notices checksum journeys wrong_checksum::t09_one_wrong_bit_is_refused::through_a_node 'waited .* for a problem that names the expected and the found checksum'
rm -f "$log"
exit "$failed"
