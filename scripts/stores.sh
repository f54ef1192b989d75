#!/usr/bin/env bash
# Tests stores against a real S3 server: moto (from PyPI), in server mode, behind a proxy that injects faults. Makes its Python
# environment first, in the cache outside the clone (115 MB). Idempotent. Usage: scripts/stores.sh [--install]
#   --install   only makes the environment and prints its folder
set -euo pipefail
cd "$(dirname "$0")/.."

packages=('moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5)
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}

fail() { printf 'stores: %s\n' "$*" >&2; exit 1; }
case "${1:-}" in
  '' | --install) ;;
  *) fail "unknown argument $1; usage: scripts/stores.sh [--install]" ;;
esac
command -v python3 >/dev/null || fail 'python3 is missing: apt-get install python3 python3-pip (Debian, Ubuntu)'
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$(python3 --version) is too old: Python 3.10 or later is needed"

version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
name=$(printf '%s\n' "$version" "${packages[@]}" | sha256sum | cut -c 1-12)
folder="$cache/stores-$name"
if [ ! -e "$folder/complete" ]; then
  partial="$folder.partial.$$"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$cache"
  printf 'stores: installing %s into %s\n' "${packages[*]}" "$folder" >&2
  python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --no-compile --target "$partial" "${packages[@]}" ||
    fail 'pip could not install the packages: check the network and the space on disk (115 MB), and call it again'
  touch "$partial/complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
  trap - EXIT
fi
if [ "${1:-}" = --install ]; then
  printf '%s\n' "$folder"
  exit
fi

export PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1
TANDEM_STORES_PYTHON=$(command -v python3)
export TANDEM_STORES_PYTHON
cargo build --workspace --quiet
cargo test --quiet --workspace --test s3 -- --ignored
