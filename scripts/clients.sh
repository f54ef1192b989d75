#!/usr/bin/env bash
# Tests the coordinator with programs that know nothing of Tandem: a generic gRPC client from PyPI, through reflection. Makes its Python
# environment first, in the cache outside the clone. Idempotent. Usage: scripts/clients.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/lib/python.sh
. scripts/lib/python.sh

need_python
environment '' grpcio==1.85.3 grpcio-reflection==1.85.1 googleapis-common-protos==1.76.0
use_environment
TANDEM_CLIENTS_PYTHON=$(command -v python3)
export TANDEM_CLIENTS_PYTHON
cargo build --workspace --quiet
cargo test --quiet --workspace --test clients -- --ignored --nocapture
