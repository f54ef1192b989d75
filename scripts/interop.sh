#!/usr/bin/env bash
# Tests weights against PyTorch, safetensors and transformers. Makes their Python environment first, in the cache outside the clone.
# Idempotent. Usage: scripts/interop.sh
#
# PyPI's torch for Linux is the CUDA build: its import loads CUDA's libraries on machines without a GPU too, so they are installed
# with it (4.9 GB on disk).
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(torch==2.13.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0)
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}

fail() { printf 'interop: %s\n' "$*" >&2; exit 1; }
command -v python3 >/dev/null || fail 'python3 is missing: apt-get install python3 python3-pip (Debian, Ubuntu)'
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$(python3 --version) is too old: Python 3.11 or later is needed"

version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
name=$(printf '%s\n' "$version" "${packages[@]}" | sha256sum | cut -c 1-12)
folder="$cache/interop-$name"
if [ ! -e "$folder/complete" ]; then
  partial="$folder.partial.$$"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$cache"
  printf 'interop: installing %s into %s\n' "${packages[*]}" "$folder"
  python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --no-compile --target "$partial" "${packages[@]}" ||
    fail 'pip could not install the packages: check the network and the space on disk (5 GB), and call it again'
  touch "$partial/complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
  trap - EXIT
fi

export PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
TANDEM_INTEROP_PYTHON=$(command -v python3)
export TANDEM_INTEROP_PYTHON
cargo build --workspace --quiet
cargo test --quiet --package worker --test interop -- --ignored --nocapture
