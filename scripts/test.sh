#!/usr/bin/env bash
# Sets up, then runs every check and test. Fails at the first that fails. Usage: scripts/test.sh [--interop]
#   --interop   also tests weights against PyTorch, safetensors and transformers (scripts/interop.sh; installs 4.9 GB once),
#               stores against a real S3 server (scripts/stores.sh; 115 MB), the coordinator against a generic gRPC client
#               (scripts/clients.sh), and its page in Chromium (scripts/page.sh)
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  '' | --interop) ;;
  *) printf 'test: unknown argument %s; usage: scripts/test.sh [--interop]\n' "$1" >&2; exit 1 ;;
esac
heading() { printf '\n=== %s (%ds)\n' "$*" "$SECONDS"; }

heading 'set-up'
scripts/setup.sh
heading 'shell scripts parse'
find scripts .ci -type f \( -name '*.sh' -o -name run \) -print0 | xargs -0 -n 1 bash -n
heading 'format'
cargo fmt --all --check
heading 'clippy'
cargo clippy --workspace --all-targets --quiet -- --deny warnings
heading 'documentation'
RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --quiet
heading 'build'
cargo build --workspace --quiet
heading 'tests'
cargo test --workspace --quiet
if [ "${1:-}" = --interop ]; then
  heading 'weights against PyTorch, safetensors and transformers'
  scripts/interop.sh
  heading 'stores against a real S3 server'
  scripts/stores.sh
  heading 'a generic gRPC client'
  scripts/clients.sh
  heading 'the page in a browser'
  scripts/page.sh
fi
heading 'all passed'
