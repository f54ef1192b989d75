#!/usr/bin/env bash
# Peak memory and time of the contrastive loss, whole and in tiles, against the number of pairs. Each figure is a process of its own.
# Usage: scripts/bench/itc_memory.sh [PAIRS...]
set -euo pipefail
cd "$(dirname "$0")/../.."

queue=16384
tile=4096
[ $# -gt 0 ] || set -- 512 1024 2048 4096 8192
cargo build --quiet --package worker --example itc
program=${CARGO_TARGET_DIR:-target}/debug/examples/itc

printf 'queue %s, tiles of %s, %s threads\n' "$queue" "$tile" "${OMP_NUM_THREADS:-$(nproc)}"
printf '%8s %12s %12s %8s %12s %12s %8s\n' pairs whole/MiB tiled/MiB ratio whole/s tiled/s ratio
for pairs in "$@"; do
  read -r whole whole_s < <("$program" "$pairs" "$queue" 1000000)
  read -r tiled tiled_s < <("$program" "$pairs" "$queue" "$tile")
  awk -v p="$pairs" -v w="$whole" -v t="$tiled" -v ws="$whole_s" -v ts="$tiled_s" \
    'BEGIN { printf "%8d %12.0f %12.0f %8.2f %12.2f %12.2f %8.2f\n", p, w, t, w / t, ws, ts, ts / ws }'
done
