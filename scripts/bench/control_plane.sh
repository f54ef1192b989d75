#!/usr/bin/env bash
# Loads a coordinator with simulated workers on this machine: how long they take to come together, how soon heartbeats are answered, how
# long the others need after some died, and the coordinator's memory. Takes the arguments of `control_plane --help`.
# Usage: scripts/bench/control_plane.sh [--workers N] [--seconds N] [--step-ms N] [--deaths N,…]
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --workspace --quiet
exec "${CARGO_TARGET_DIR:-target}/debug/control_plane" "$@"
