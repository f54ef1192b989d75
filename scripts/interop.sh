#!/usr/bin/env bash
# Tests weights against PyTorch, safetensors and transformers. Makes their Python environment first, in the cache outside the clone.
# Idempotent. Usage: scripts/interop.sh
#
# PyPI's torch for Linux is the CUDA build: its import loads CUDA's libraries on machines without a GPU too, so they are installed
# with it (4.9 GB on disk).
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/python.sh
. scripts/lib/python.sh

need_python
need_version 3.11
environment '5 GB' torch==2.13.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0
use_environment
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
TANDEM_INTEROP_PYTHON=$(command -v python3)
export TANDEM_INTEROP_PYTHON
cargo build --workspace --quiet
cargo test --quiet --package worker --test interop -- --ignored --nocapture
