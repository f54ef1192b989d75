#!/usr/bin/env bash
# A run on this machine: a coordinator and its workers, each a process of its own with a log of its own. Always goes on from the newest
# checkpoint where there is one. Ctrl-C, SIGTERM and SIGUSR1 stop it with a checkpoint. Ends with the coordinator's exit code.
# Usage: scripts/launch/local.sh [--workers N] [--spare N] [--credentials DIR] [--logs DIR] --config run.toml [--set key=value]...
#   --workers N        instead of run.workers
#   --spare N          more workers, which take part in the place of a lost one
#   --credentials DIR  what `tandem certs init DIR` made; without it the run is open to every user of this machine
#   --logs DIR         instead of runs/NAME/logs
# TANDEM_METRICS=127.0.0.1:PORT gives the workers that port and the next ones for their metrics.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/launch/lib.sh
. "$here/lib.sh"

workers='' spares=0 credentials='' logs='' layers=()
while (($#)); do
  [ $# -gt 1 ] || fail "$1: unknown, or lacks its value; see the head of this script"
  case $1 in
    --workers) workers=$2 ;;
    --spare) spares=$2 ;;
    --credentials) credentials=$(cd "$2" && pwd) ;;
    --logs) logs=$2 ;;
    --config | --set) layers+=("$1" "$2") ;;
    *) fail "unknown argument $1; see the head of this script" ;;
  esac
  shift 2
done
[ -z "$workers" ] || layers+=(--set "run.workers=$workers")

programs "$here/../.."
resolve "${layers[@]}"
workers=$(knob run.workers)
: "${logs:=runs/$(knob run.name)/logs}"
mkdir -p "$logs"

role() { # name: the option with that role's credentials
  [ -z "$credentials" ] || printf -- '--credentials\n%s\n' "$credentials/$1"
}

begin() { # slot
  local log="$logs/$1.log" url='' guard=() number=${1##*-}
  # A session of its own, so that Ctrl-C reaches this script alone, which tells the coordinator.
  if [ "$1" = coordinator ]; then
    mapfile -t guard < <(role coordinator)
    mark "$log"
    exec setsid tandem coordinator "${layers[@]}" "${guard[@]}" --resume >>"$log" 2>&1
  fi
  # Read anew each time: a coordinator that was started again may have another port.
  url=$(printed_url "$logs/coordinator.log") || exit 75
  mapfile -t guard < <(role worker)
  case $1 in spare-*) guard+=(--spare) number=$((workers + number)) ;; esac
  [ -z "${TANDEM_METRICS:-}" ] || guard+=(--metrics "$(metrics_of "$number")")
  exec setsid tandem-worker --coordinator "$url" "${guard[@]}" >>"$log" 2>&1
}
tell() { tell_process "$@"; }
over() { rm -f "$logs/coordinator.log.mark"; }

mark "$logs/coordinator.log"
slots=()
for ((n = 0; n < workers; n++)); do slots+=("worker-$n"); done
for ((n = 0; n < spares; n++)); do slots+=("spare-$n"); done
code=0
crew coordinator "${slots[@]}" || code=$?
case $code in
  0) ;;
  75) say "stopped; the same command goes on from the newest checkpoint" ;;
  *) say "ended with $code ($(meaning "$code")); the last lines of $logs/coordinator.log:"; tail -n 5 "$logs/coordinator.log" >&2 ;;
esac
exit "$code"
