#!/usr/bin/env bash
# Whether docs/threats.md has a test for every row, T01 to T32, and every test that it names is there.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

if (($# > 0)); then
    printf 'usage: scripts/check-threats.sh\n\nChecks the names of tests in docs/threats.md against the sources.\n'
    [[ $1 == --help || $1 == -h ]] && exit 0 || exit 2
fi

readonly page=docs/threats.md
failed=0

complain() {
    printf '%s: %s\n' "$page" "$1" >&2
    failed=1
}

# A line is the heading of a row, a file of tests (its path without `.rs`), or a test in it.
row=none file=none
declare -A tests_of
while IFS= read -r line; do
    if [[ $line =~ ^##\ (T[0-9]{2})$ ]]; then
        row=${BASH_REMATCH[1]} file=none
        [[ ! -v tests_of[$row] ]] || complain "$row is there twice"
        tests_of[$row]=0
    elif [[ $line =~ ^-\ \`(scripts/[a-z-]+\.sh)\` ]]; then
        [[ -x ${BASH_REMATCH[1]} ]] || complain "$row: expected a script ${BASH_REMATCH[1]}, found none"
        tests_of[$row]=$((tests_of[$row] + 1))
    elif [[ $line =~ ^-\ (journeys/)?([a-z0-9_/]+)$ ]]; then
        file=${BASH_REMATCH[1]:+integration-tests/tests/journeys/}${BASH_REMATCH[2]}.rs
        [[ -f $file ]] || complain "$row: expected a file $file, found none"
    elif [[ $line =~ ^\ \ -\ \`([a-z0-9_]+)\`$ ]]; then
        name=${BASH_REMATCH[1]}
        [[ $name == "${row,,}"_* ]] || complain "$row: expected a test of that row, found $name"
        grep -qE "\bfn $name\(" "$file" 2>/dev/null || complain "$row: expected a test $name in $file, found none"
        tests_of[$row]=$((tests_of[$row] + 1))
    fi
done <"$page"

for number in {01..32}; do
    ((${tests_of[T$number]:-0} > 0)) || complain "expected a test for T$number, found none"
done
exit "$failed"
