#!/usr/bin/env bash
# The main job on real data: fetches emoji artwork, trains an ALBEF with a coordinator and two workers, and measures retrieval on a
# style that it never saw. Call it again to go on, or to see the result again. Usage: scripts/demo.sh
set -euo pipefail
cd "$(dirname "$0")/.."

data=data/demo
run=runs/demo
heading() { printf '\n=== %s (%ds)\n' "$*" "$SECONDS"; }

heading 'set-up'
scripts/setup.sh
heading 'build'
cargo build --workspace
tandem=${CARGO_TARGET_DIR:-target}/debug/tandem

heading 'data'
if [ ! -s "$data/vocab.txt" ]; then
  rm -rf "$data/train" "$data/held-out"
  if python3 scripts/demo_data.py "$data/artwork"; then
    "$tandem" data import --images "$data/artwork" --captions "$data/artwork/train.tsv" --out "$data/train"
    "$tandem" data import --images "$data/artwork" --captions "$data/artwork/held-out.tsv" --out "$data/held-out"
  elif [ $? -eq 3 ]; then
    echo 'demo: without the artwork the demo draws its own pairs; held-out are other drawings, not another style'
    "$tandem" data synth --pairs 20000 --size 64 --seed 1 --out "$data/train"
    "$tandem" data synth --pairs 1868 --size 64 --seed 2 --out "$data/held-out"
  else
    exit 65
  fi
  "$tandem" data index "$data/train"
  "$tandem" data inspect "$data/train" --samples 24 --sheet "$data/train.png"
  "$tandem" data tokenizer "$data/train" --size 4000 --out "$data/vocab.txt"
else
  echo "demo: $data is there"
fi

heading 'training: one coordinator, two workers'
"$tandem" run --config scripts/demo.toml --workers 2 --resume --set "model.vocabulary=$(wc -l <"$data/vocab.txt")"

heading 'what the ledger proves'
"$tandem" data verify-ledger --run "$run"

heading 'retrieval on the held-out pairs'
if [ ! "$run/retrieval.txt" -nt "$run/metrics.jsonl" ]; then
  "$tandem" eval retrieval --checkpoint "$run" --data "$data/held-out" --rerank 16 --grid "$run/grid.png" >"$run/retrieval.partial"
  mv "$run/retrieval.partial" "$run/retrieval.txt"
fi
cat "$run/retrieval.txt"
cat <<END

  curves       $run/curves.png
  grid         $run/grid.png: queries with their best five answers, right ones framed
  samples      $data/train.png: what it was trained on
  go on        $tandem run --config scripts/demo.toml --workers 2 --resume --set model.vocabulary=$(wc -l <"$data/vocab.txt") --set optimizer.steps=2000
END
heading 'done'
