#!/bin/bash
# Everything CI checks. Builds once, runs every test, ends everything it started, prints the counts.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo="${CARGO:-cargo}"
work="$(mktemp -d)"
group=""
finish() {
    # Whatever a test left behind is in the tests' own session: end that, and nothing else.
    [[ -s "$work/session" ]] && group="$(<"$work/session")"
    if [[ -n $group ]]; then
        kill -TERM -- "-$group" 2>/dev/null && sleep 1
        kill -KILL -- "-$group" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "system"
scripts/system.sh test

step "format"
"$cargo" fmt --all --check

step "supply chain"
scripts/floors.sh
if "$cargo" deny --version >/dev/null 2>&1; then
    "$cargo" deny --offline check bans sources || "$cargo" deny check bans sources
    "$cargo" deny check advisories || { echo "advisories: not clean, or the database could not be fetched"; exit 1; }
else
    echo "SKIPPED: cargo-deny is not installed; deny.toml's floors were checked by scripts/floors.sh"
fi

step "clippy"
"$cargo" clippy --release --locked --workspace --all-targets -- -D warnings

step "build"
"$cargo" build --release --locked --workspace --lib --bins --examples --tests

step "tests"
status=0
export cargo work
SESSION="$work/session" setsid --wait bash -c '
    echo $$ >"$SESSION"
    tests=("$cargo" test --release --locked --workspace --no-fail-fast)
    # The rest of the 20,000 seeds, while other tests wait for processes and clocks: it takes what they leave.
    HEARTH_SIM_SEEDS=5000..20000 nice -n 19 "${tests[@]}" --test sim many_seeds_with_model_mls >"$work/seeds" 2>&1 &
    seeds=$! status=0
    "${tests[@]}" || status=$?
    wait "$seeds" || status=$?
    cat "$work/seeds"
    exit "$status"' </dev/null > >(tee "$work/output") 2>&1 || status=$?
sync "$work/output" 2>/dev/null || true

awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i; if ($(i+1) == "ignored;") g += $i } }
     END { printf "\n%d passed, %d failed, %d ignored\n", p, f, g }' "$work/output"
grep -E '^test .* FAILED$' "$work/output" || true
step "done, status $status"
exit "$status"
