#!/usr/bin/env bash
# What checkpoints cost the step: albef-small on two workers with a checkpoint every 50 steps. Printed are the median step, how long the
# loop stood still for a snapshot, and how much longer the steps took that had a part written beside them; all from one run's metrics.
# Usage: scripts/bench/checkpoint.sh [STEPS [BATCH]]
set -euo pipefail
cd "$(dirname "$0")/../.."

steps=${1:-160}
batch=${2:-16}
every=50
place=runs/bench-checkpoint
cargo build --quiet --workspace
tandem=${CARGO_TARGET_DIR:-target}/debug/tandem
rm -rf "$place"
mkdir -p "$place"
"$tandem" data synth --pairs 512 --size 128 --group-rows 32 --out "$place/data" >"$place/log" 2>&1
"$tandem" data tokenizer "$place/data" --size 200 --out "$place/vocab.txt" >>"$place/log" 2>&1
"$tandem" run --workers 2 --set "run.output=$place/run" --set "data.train=$place/data" --set "text.tokenizer=$place/vocab.txt" \
  --set "model.vocabulary=$(wc -l <"$place/vocab.txt")" --set model.preset=albef-small --set data.lanes=8 \
  --set "optimizer.batch=$batch" --set "optimizer.steps=$steps" --set objective.queue=4096 --set checkpoint.every="$every" \
  --set metrics.every=1 >>"$place/log" 2>&1 || { tail -20 "$place/log" >&2; exit 1; }
size=$(du -sm "$place"/run/checkpoints/step-* | tail -1 | cut -f1)
python3 - "$place/run/metrics.jsonl" "$every" "$size" <<'PY'
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
every, size = int(sys.argv[2]), sys.argv[3]
# The first steps allocate; the stall of the checkpoint at step s stands in the line of step s + 1.
lines = [line for line in lines if line["step"] > 5]
after = lambda line: 0 < line["step"] % every <= 10
plain = [line["seconds"] for line in lines if not after(line)]
median = statistics.median(plain)
stalls = [line["checkpoint_stall"] for line in lines if line["checkpoint_stall"] > 0]
beside = [line["seconds"] - median for line in lines if after(line) and line["step"] > every]
checkpoints = max(1, len(stalls))
window = every * median
print(f"checkpoints of {size} MB every {every} steps, {len(stalls)} measured; median step {median:.3f} s")
print(f"stall of the loop {statistics.mean(stalls) if stalls else 0:.3f} s a checkpoint, {100 * sum(stalls) / checkpoints / window:.2f} % of the time of {every} steps")
print(f"the ten steps after each took {sum(beside) / checkpoints:.3f} s more than ten median ones, {100 * sum(beside) / checkpoints / window:.2f} %")
PY
