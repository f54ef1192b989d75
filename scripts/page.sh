#!/usr/bin/env bash
# Tests the coordinator's page in Chromium: against a mock with odd data, beside a real run while it trains and when it ends, and with 4,096 simulated
# workers. Installs playwright-core in the cache outside the clone first; Chromium comes from the system. Idempotent.
# Usage: scripts/page.sh [FOLDER]; screenshots go into FOLDER.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'page: %s\n' "$*" >&2; exit 1; }
command -v npm >/dev/null || fail 'npm is missing: apt-get install npm (Debian, Ubuntu), Node.js 20 or later'
[ -x /usr/bin/chromium ] || fail 'Chromium is missing: apt-get install chromium (Debian)'

work=$(mktemp -d)
pids=()
end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" || true; done
  rm -rf "$work"
}
trap end EXIT
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  TANDEM_PAGE_SHOTS=$(cd "$1" && pwd)
  export TANDEM_PAGE_SHOTS
fi

npm --prefix tests/page ci --silent --no-audit --no-fund
browse() { node --test tests/page/*.test.mjs; }

printf 'page: with odd data\n'
browse >"$work/mock.log" || { cat "$work/mock.log"; exit 1; }

cargo build --workspace --quiet
tandem=target/debug/tandem
printf 'page: beside a run\n'
"$tandem" data synth --pairs 400 --out "$work/data" >/dev/null
entries=$("$tandem" data tokenizer "$work/data" --size 200 --out "$work/vocab.txt" | sed 's/.*vocabulary=//')
"$tandem" coordinator --set model.preset=albef-tiny --set "data.train=$work/data" --set "text.tokenizer=$work/vocab.txt" \
  --set "model.vocabulary=$entries" --set "run.output=$work/run" --set data.lanes=8 --set data.window=1 --set optimizer.batch=16 \
  --set optimizer.steps=100000 --set checkpoint.every=20 --set checkpoint.keep=1000 --set metrics.every=1 --set objective.queue=64 --set run.workers=2 2>"$work/coordinator.log" &
pids+=($!)
for name in a b; do
  while [ ! -s "$work/run/coordinator.url" ]; do
    kill -0 "${pids[0]}" 2>/dev/null || { cat "$work/coordinator.log"; fail 'the coordinator did not start'; }
    sleep 0.1
  done
  target/debug/tandem-worker --coordinator "$(cat "$work/run/coordinator.url")" 2>"$work/$name.log" &
  pids+=($!)
done
"$tandem" checkpoint now --run "$work/run" >/dev/null
nice "$tandem" eval follow --run "$work/run" --data "$work/data" --rerank 8 2>"$work/eval.log" &
pids+=($!)
until compgen -G "$work/run/evaluations/*.json" >/dev/null; do
  kill -0 "${pids[3]}" 2>/dev/null || { cat "$work/eval.log"; fail 'the evaluation ended'; }
  sleep 0.1
done
url=$(cat "$work/run/coordinator.url")
TANDEM_PAGE=$url TANDEM_PAGE_EXPECTS=live browse >"$work/live.log" || { cat "$work/live.log"; exit 1; }
TANDEM_PAGE=$url TANDEM_PAGE_EXPECTS=ends TANDEM_PAGE_STOP="'$tandem' stop --run '$work/run'" browse >"$work/ends.log" ||
  { cat "$work/ends.log"; exit 1; }

printf 'page: with 4,096 simulated workers\n'
TANDEM_PAGE_EXPECTS=many target/debug/control_plane --deaths 10 --seconds 5 --then 'node --test tests/page/*.test.mjs' >"$work/many.log" ||
  { cat "$work/many.log"; exit 1; }
printf 'page: all passed\n'
