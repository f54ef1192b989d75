#!/usr/bin/env bash
# How fast row groups come: from a local disk, from a plain web server with and without the local cache, and from an S3 server (moto,
# which is Python: its figure tells what moto does, not what S3 does). All on this machine, over loopback.
# Usage: scripts/bench/read.sh [PAIRS]                          (default 20000, drawn once into the cache folder)
#        scripts/bench/read.sh --soak ROWS MEMORY.tsv [PAIRS]   at least ROWS rows over the web server, with a cache of a third of the data;
#                                                       seconds, rows and resident KiB go to the file
set -euo pipefail
cd "$(dirname "$0")/../.."

soak=
if [ "${1:-}" = --soak ]; then
  [ $# -ge 3 ] || { printf 'usage: scripts/bench/read.sh --soak ROWS MEMORY.tsv [PAIRS]\n' >&2; exit 1; }
  soak=$2
  memory=$3
  shift 3
fi
pairs=${1:-20000}
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}
data="$cache/bench-read-$pairs"

# The dev profile: it optimises the dependencies and the crate that reads.
cargo build --quiet --package coordinator --package shards --package e2e --bin tandem --example read --example serve
target=${CARGO_TARGET_DIR:-target}/debug
work=$(mktemp -d)
inputs=()
finish() {
  # Servers end with their input, and take what they started with them.
  for input in "${inputs[@]}"; do exec {input}>&-; done
  wait
  rm -rf "$work"
}
trap finish EXIT

# One file: a plain web server does not list.
if [ ! -e "$data/complete" ]; then
  rm -rf "$data"
  "$target/tandem" data synth --pairs "$pairs" --size 224 --group-rows 500 --file-groups 1000000 --out "$data/set"
  touch "$data/complete"
fi
bytes=$(stat -c %s "$data/set/00000.parquet")
printf '%s pairs, %d MB, row groups of 500; %s cores\n' "$pairs" $((bytes / 1000000)) "$(nproc)"

# Starts a server and leaves its URL in $url. Its input stays open until the end.
serve() {
  mkfifo "$work/input-$1" "$work/told-$1"
  "$target/examples/serve" "$2" <"$work/input-$1" >"$work/told-$1" &
  exec {input}>"$work/input-$1"
  inputs+=("$input")
  read -r url <"$work/told-$1"
}
read_from() { "$target/examples/read" "$@"; }

serve web "$data"
web="$url/set/00000.parquet"
if [ -n "$soak" ]; then
  read_from "location=$web" "rows=$soak" "memory=$memory" "cache=$work/cache" \
    "cache_gib=$(awk -v b="$bytes" 'BEGIN { print b / 3 / 2^30 }')"
  exit
fi
rows=$((pairs * 3))
printf 'local disk       '; read_from "location=$data/set" "rows=$rows"
printf 'web              '; read_from "location=$web" "rows=$rows"
printf 'web, cold cache  '; read_from "location=$web" "rows=$pairs" "cache=$work/cache"
printf 'web, warm cache  '; read_from "location=$web" "rows=$rows" "cache=$work/cache"
PYTHONPATH=$(scripts/stores.sh --install)
export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
serve s3 s3
export AWS_ENDPOINT_URL="$url" AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1
python3 - "$data/set/00000.parquet" <<'PYTHON'
import os, sys
import boto3
boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).upload_file(sys.argv[1], "bench", "set/00000.parquet")
PYTHON
printf 's3 (moto)        '; read_from location=s3://bench/set "rows=$pairs"
printf 's3, warm cache   '; read_from location=s3://bench/set "rows=$pairs" "cache=$work/s3" >/dev/null
read_from location=s3://bench/set "rows=$rows" "cache=$work/s3"
