#!/usr/bin/env bash
# Strikes a run of real processes again and again, by a plan that is a function of the seed, and holds its result against that of an
# undisturbed run: ledger, losses, metrics; prints what each kind of fault cost. As root, workers are hosts of their own (network
# namespaces) that can be cut off, and the output is a disk that gets full. Fails where anything does not hold, and then keeps the run
# and prints the plan. Usage: scripts/chaos.sh --minutes N --seed S [--workers W] [--faults NAME,…] [--strikes N] [--json FILE] [--keep]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --workspace --quiet
exec "${CARGO_TARGET_DIR:-target}/debug/chaos" "$@"
