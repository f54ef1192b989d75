#!/usr/bin/env bash
# Workers on this machine, for a run whose coordinator is elsewhere: in a container, in a Slurm task, or by hand. A worker that is lost is
# started again; SIGTERM, SIGINT and SIGUSR1 let all of them leave the run at its next step. Ends with 0 once the run is over, with 75
# when the workers were sent away or the run was stopped, else with the code of the first worker that can't go on.
# Usage: scripts/launch/workers.sh [--count N] [argument of tandem-worker]...
#   --count N   how many; default: TANDEM_WORKERS, else 1. One a device, and all of a machine's in one container, where they share memory
# TANDEM_COORDINATOR, TANDEM_CREDENTIALS and the like say the rest. TANDEM_METRICS=ADDRESS:PORT gives each next worker the next port.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/launch/lib.sh
. "$here/lib.sh"
count=${TANDEM_WORKERS:-1}
if [ "${1:-}" = --count ]; then
  count=$2
  shift 2
fi
arguments=("$@")
programs "$here/../.."

begin() { # slot
  local metrics
  metrics=$(metrics_of $((${1#worker-} + ${SLURM_LOCALID:-0})))
  [ -z "$metrics" ] || export TANDEM_METRICS=$metrics
  if [ "$count" = 1 ]; then exec tandem-worker "${arguments[@]}"; fi
  # Lines of several workers are told apart by their beginnings.
  exec tandem-worker "${arguments[@]}" > >(exec sed -u "s/^/$1: /") 2>&1
}
tell() { tell_process "$@"; }

slots=()
for ((n = 0; n < count; n++)); do slots+=("worker-$n"); done
code=0
crew "${slots[@]}" || code=$?
exit "$code"
