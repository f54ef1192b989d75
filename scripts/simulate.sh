#!/usr/bin/env bash
# Plays whole runs of a coordinator and up to 24 workers in simulated time over a simulated network, with faults by a plan that is a
# function of the seed. A run that breaks a promise is told from its beginning; its seed tells the same story again.
# Usage: scripts/simulate.sh [FIRST [LAST]]   (seeds 0 to 99; of one seed the story is always told, with RUST_LOG also what was logged)
#
# Has a build of its own: tokio's draws can only be seeded with a flag for all crates. Each seed has a process of its own, since hash
# maps draw by thread.
set -euo pipefail
cd "$(dirname "$0")/.."

first=${1:-0}
last=${2:-$([ $# -eq 0 ] && echo 99 || echo "$first")}
export RUSTFLAGS="--cfg tokio_unstable" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/simulation"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
play() {
  SEED=$1 cargo test --quiet --config 'profile.dev.package."*".opt-level=1' --package worker --lib -- \
    --ignored --nocapture --exact session::simulation::the_run_of_a_seed_ends_as_promised >"$log" 2>&1
}
for seed in $(seq "$first" "$last"); do
  if ! play "$seed"; then
    cat "$log" >&2
    printf 'simulate: seed %s breaks a promise; scripts/simulate.sh %s plays it again\n' "$seed" "$seed" >&2
    exit 1
  fi
  if [ "$first" = "$last" ]; then cat "$log"; else printf 'seed %s: %s\n' "$seed" "$(grep ' s  ' "$log" | tail -1)"; fi
done
printf 'simulate: seeds %s to %s end as promised\n' "$first" "$last"
