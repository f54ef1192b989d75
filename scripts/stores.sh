#!/usr/bin/env bash
# Tests stores against a real S3 server: moto (from PyPI), in server mode, behind a proxy that injects faults. Makes its Python
# environment first, in the cache outside the clone (115 MB). Idempotent. Usage: scripts/stores.sh [--install]
#   --install   only makes the environment and prints its folder
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/python.sh
. scripts/lib/python.sh

case "${1:-}" in
  '' | --install) ;;
  *) fail "unknown argument $1; usage: scripts/stores.sh [--install]" ;;
esac
need_python
need_version 3.10
environment '115 MB' 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5 >&2
if [ "${1:-}" = --install ]; then
  printf '%s\n' "$folder"
  exit
fi
use_environment
TANDEM_STORES_PYTHON=$(command -v python3)
export TANDEM_STORES_PYTHON
cargo build --workspace --quiet
cargo test --quiet --workspace --test s3 -- --ignored
