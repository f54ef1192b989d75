#!/usr/bin/env bash
# Plays whole runs of a coordinator and up to 24 workers in simulated time over a simulated network, with faults by a plan that is a
# function of the seed. Each seed is played twice and has to tell the same story; the first that breaks a promise is told from its
# beginning. Usage: scripts/simulate.sh [FIRST [LAST]]   (seeds 0 to 99; RUST_LOG=worker=debug,coordinator=debug tells more)
#
# Has a build of its own: tokio's draws can only be seeded with a flag for all crates.
set -euo pipefail
cd "$(dirname "$0")/.."

export FIRST=${1:-0}
export LAST=${2:-$([ $# -eq 0 ] && echo 99 || echo "$FIRST")}
export RUSTFLAGS="--cfg tokio_unstable" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/simulation"
exec cargo test --quiet --config 'profile.dev.package."*".opt-level=1' --package worker --lib -- \
  --ignored --nocapture --exact session::simulation::runs_of_these_seeds_end_as_promised_and_replay
