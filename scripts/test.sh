#!/usr/bin/env bash
# Sets up, then runs every check and test. Fails at the first that fails. Usage: scripts/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

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
heading 'all passed'
