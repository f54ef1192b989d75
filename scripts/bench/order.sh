#!/usr/bin/env bash
# The order of 400,000,123 pairs, simulated: sizes, times, and the proof that an epoch holds each row once. Nothing is read but memory.
# Usage: scripts/bench/order.sh [ROWS FILES GROUP_ROWS]
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --quiet --release --package shards --example order
program=${CARGO_TARGET_DIR:-target}/release/examples/order
if [ $# -gt 0 ]; then
  "$program" "$@"
else
  "$program" 400000123 41455 100
  printf '\n'
  "$program" 400000123 41455 1000
fi
