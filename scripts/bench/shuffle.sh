#!/usr/bin/env bash
# How well the order shuffles. Usage: scripts/bench/shuffle.sh [PICTURE.png]
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo run --quiet --package shards --example shuffle -- "$@"
