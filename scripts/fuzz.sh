#!/usr/bin/env bash
# Fuzzes what reads other people's bytes: images, parquet files, indexes. Ends with an error at the first finding, which libFuzzer names.
# Usage: scripts/fuzz.sh [SECONDS [TARGET...]]   (60 seconds each of image, schema, manifest)
#
# Installs cargo-fuzz into the cache outside the clone, once. No sanitizer: the code under test has no unsafe code, and with none a
# stable compiler is enough; panics, aborts, hangs and memory over 2 GiB are found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- image schema manifest
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}
tools="$cache/cargo-fuzz-0.13.2"
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
  printf 'fuzz: installing cargo-fuzz into %s\n' "$tools"
  cargo install --quiet --locked --root "$tools" cargo-fuzz@0.13.2
fi
work="$cache/fuzz"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
cargo run --quiet --package shards --example seeds -- "$seeds"
# Which flags a stable compiler needs to count edges.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
  printf '\n=== %s, %s s\n' "$target" "$seconds"
  mkdir -p "$work/corpus/$target" "$work/artifacts"
  "$tools/bin/cargo-fuzz" fuzz run --fuzz-dir shards/fuzz --sanitizer none --target-dir "$work/target" "$target" \
    "$work/corpus/$target" "$seeds/$target" -- -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 \
    -artifact_prefix="$work/artifacts/" -max_len=65536 -print_final_stats=1
done
