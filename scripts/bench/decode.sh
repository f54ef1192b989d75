#!/usr/bin/env bash
# Images per CPU second of one core: Tandem's image pipeline and the reference's (PIL, ALBEF's RandAugment), in one run, on the same
# 512 x 384 JPEG files at quality 85 (about 50 kB), to 256 x 256 training crops. Builds the example in release.
# Usage: scripts/bench/decode.sh [--albef FOLDER] [--compare] [--images N] [--repeats N]
#   --albef FOLDER   a checkout of salesforce/ALBEF: its RandAugment is the reference; without it that part is left out
#   --compare        also compares the outputs with PIL's: views without chance pixel by pixel, random ones by their statistics
# The reference runs in a Python of its own, made once in the user's cache folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'decode: %s\n' "$*" >&2; exit 1; }
albef='' compare='' images=128 repeats=7
while [ $# -gt 0 ]; do
  case "$1" in
    --albef) albef=${2:?--albef needs a folder}; shift 2 ;;
    --images) images=${2:?--images needs a number}; shift 2 ;;
    --repeats) repeats=${2:?--repeats needs a number}; shift 2 ;;
    --compare) compare=1; shift ;;
    *) fail "unknown argument $1; usage: scripts/bench/decode.sh [--albef FOLDER] [--compare] [--images N] [--repeats N]" ;;
  esac
done
[ -z "$albef" ] || [ -s "$albef/dataset/randaugment.py" ] || fail "$albef holds no dataset/randaugment.py: name a checkout of salesforce/ALBEF"

cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}/decode-bench
python=$cache/bin/python
"$python" -c 'import cv2, numpy, PIL' 2>/dev/null || {
  python3 -m venv "$cache" && "$python" -m pip install --quiet pillow numpy opencv-python-headless
} || fail 'the reference needs python3 with venv, and pillow, numpy and opencv-python-headless from PyPI'
cargo build --quiet --release --package imaging --example decode
program=${CARGO_TARGET_DIR:-target}/release/examples/decode
reference=scripts/bench/decode_reference.py
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

"$python" "$reference" make "$folder/images" "$images"
"$program" time "$folder/images" "$repeats" >"$folder/ours"
"$python" "$reference" time "$folder/images" "$repeats" ${albef:+"$albef"} >"$folder/reference"
[ -n "$albef" ] || printf 'without --albef the reference with RandAugment is left out\n'
printf 'images per CPU second of one core, %s repeats: minimum, median, maximum\n' "$repeats"
awk '
  function rates(name,   n, i, j, t) {
    n = NF - 1
    for (i = 1; i <= n; i++) rate[i] = 1 / $(i + 1)
    for (i = 2; i <= n; i++) for (j = i; j > 1 && rate[j] < rate[j - 1]; j--) { t = rate[j]; rate[j] = rate[j - 1]; rate[j - 1] = t }
    middle[FILENAME, name] = rate[int((n + 1) / 2)]
    return sprintf("%6.0f %6.0f %6.0f", rate[1], rate[int((n + 1) / 2)], rate[n])
  }
  FILENAME ~ /ours$/ { ours[$1] = rates($1); own[$1] = middle[FILENAME, $1]; order[++count] = $1; next }
  { theirs[$1] = rates($1); other[$1] = middle[FILENAME, $1] }
  END {
    for (i = 1; i <= count; i++) {
      name = order[i]
      printf "%-10s tandem %s", name, ours[name]
      if (name in theirs) printf "   reference %s   ratio of medians %.2f", theirs[name], own[name] / other[name]
      printf "\n"
    }
  }' "$folder/ours" "$folder/reference"
if [ -n "$compare" ]; then
  mkdir "$folder/written"
  "$program" write "$folder/images" "$folder/written" 3000
  "$python" "$reference" compare "$folder/images" "$folder/written" ${albef:+"$albef"}
fi
