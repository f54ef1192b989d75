#!/usr/bin/env bash
# Tests the coordinator with programs that know nothing of Tandem: a generic gRPC client from PyPI, through reflection. Makes its Python
# environment first, in the cache outside the clone. Idempotent. Usage: scripts/clients.sh
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(grpcio==1.85.3 grpcio-reflection==1.85.1 googleapis-common-protos==1.76.0)
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}

fail() { printf 'clients: %s\n' "$*" >&2; exit 1; }
command -v python3 >/dev/null || fail 'python3 is missing: apt-get install python3 python3-pip (Debian, Ubuntu)'

version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
name=$(printf '%s\n' "$version" "${packages[@]}" | sha256sum | cut -c 1-12)
folder="$cache/clients-$name"
if [ ! -e "$folder/complete" ]; then
  partial="$folder.partial.$$"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$cache"
  printf 'clients: installing %s into %s\n' "${packages[*]}" "$folder"
  python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --no-compile --target "$partial" "${packages[@]}" ||
    fail 'pip could not install the packages: check the network, and call it again'
  touch "$partial/complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
  trap - EXIT
fi

export PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1
TANDEM_CLIENTS_PYTHON=$(command -v python3)
export TANDEM_CLIENTS_PYTHON
cargo build --workspace --quiet
cargo test --quiet --workspace --test clients -- --ignored --nocapture
