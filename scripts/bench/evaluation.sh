#!/usr/bin/env bash
# What evaluation costs a run that shares its processors with it: albef-tiny on two workers, for SECONDS alone, for as long beside
# `nice -n 19 tandem eval follow` of every checkpoint there is time for, and alone again. Printed are the pairs per second of each.
# Usage: scripts/bench/evaluation.sh [SECONDS [BATCH]]
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
batch=${2:-32}
place=runs/bench-evaluation
cargo build --quiet --workspace
tandem=${CARGO_TARGET_DIR:-target}/debug/tandem
rm -rf "$place"
mkdir -p "$place"
for part in data held-out; do
  "$tandem" data synth --pairs 1000 --seed "${#part}" --group-rows 50 --out "$place/$part" >"$place/log" 2>&1
done
"$tandem" data tokenizer "$place/data" --size 200 --out "$place/vocab.txt" >>"$place/log" 2>&1
pids=()
end() { kill "${pids[@]}" 2>/dev/null && wait "${pids[@]}" || true; }
trap end EXIT
"$tandem" run --workers 2 --set "run.output=$place/run" --set "data.train=$place/data" --set "text.tokenizer=$place/vocab.txt" \
  --set "model.vocabulary=$(wc -l <"$place/vocab.txt")" --set model.preset=albef-tiny --set data.lanes=8 \
  --set "optimizer.batch=$batch" --set optimizer.steps=1000000 --set objective.queue=1024 --set checkpoint.every=50 \
  --set metrics.every=1 >>"$place/log" 2>&1 &
pids+=($!)
steps() { wc -l <"$place/run/metrics.jsonl"; }
until [ -s "$place/run/metrics.jsonl" ] && [ "$(steps)" -gt 60 ]; do
  kill -0 "${pids[0]}" 2>/dev/null || { tail -20 "$place/log" >&2; exit 1; }
  sleep 0.2
done

# What a window of time brings: `measure NAME`.
measure() {
  local before
  before=$(steps)
  sleep "$seconds"
  python3 -c 'import sys; name, steps, batch, seconds = sys.argv[1], *map(float, sys.argv[2:]); print(f"{name}: {steps * batch / seconds:.1f} pairs/s")' \
    "$1" "$(($(steps) - before))" "$batch" "$seconds"
}
measure 'alone'
nice -n 19 "$tandem" eval follow --run "$place/run" --data "$place/held-out" --rerank 16 2>>"$place/log" &
pids+=($!)
measure 'beside evaluation'
kill "${pids[1]}"
wait "${pids[1]}" || true
printf 'evaluations of 1000 pairs meanwhile: %s\n' "$(find "$place/run/evaluations" -name '*.json' | wc -l)"
measure 'alone again'
"$tandem" stop --run "$place/run" >/dev/null
