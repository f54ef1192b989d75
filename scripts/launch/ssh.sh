#!/usr/bin/env bash
# A run on several machines over ssh: the coordinator on the first host, workers on all. Always goes on from the newest checkpoint where
# there is one. Ctrl-C, SIGTERM and SIGUSR1 stop it with a checkpoint; so does the end of this script's machine. A worker that is lost is
# started again, and a coordinator whose host is lost is started on the next host. Ends with the coordinator's exit code.
# Usage: scripts/launch/ssh.sh --hosts FILE [option value]... --config run.toml [--set key=value]...
#   --hosts FILE          a line for each host: DESTINATION [address=A] [interface=A] [workers=N], where address is the name or address
#                         at which the other hosts reach it (default: DESTINATION's host), and interface carries the collectives
#   --workers-per-host N  default 1
#   --credentials DIR     what `tandem certs init DIR --host ...` made, with a --host for each host that may have the coordinator. Each
#                         host gets its role's folder for as long as its processes live. Without it all hosts have to be loopback
#   --port N              the coordinator's, default 7070
#   --folder DIR          where the run stands on each host; relative places of the run file are seen from there; default: this folder
#   --bin DIR             where the programs are on each host, if not on its PATH
#   --env NAME            hands a variable of this environment on (object stores' keys); may be repeated
#   --ssh COMMAND         default ssh; with options, such as "ssh -F cluster.conf"
#   --logs DIR            instead of runs/NAME/logs, on this machine
# TANDEM_METRICS=127.0.0.1:PORT gives the workers of each host that port and the next ones for their metrics.
# Each host needs bash, tar, base64, setsid and GNU tail. Nothing is installed there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/launch/lib.sh
. "$here/lib.sh"

hosts='' per_host=1 credentials='' port=7070 folder=$PWD bin='' logs='' names=() config=() sets=() ssh=(ssh)
while (($#)); do
  [ $# -gt 1 ] || fail "$1: unknown, or lacks its value; see the head of this script"
  case $1 in
    --hosts) hosts=$2 ;;
    --workers-per-host) per_host=$2 ;;
    --credentials) credentials=$(cd "$2" && pwd) ;;
    --port) port=$2 ;;
    --folder) folder=$2 ;;
    --bin) bin=$2 ;;
    --env) names+=("$2") ;;
    --ssh) read -ra ssh <<<"$2" ;;
    --logs) logs=$2 ;;
    --config) config=("$2") ;;
    --set) sets+=(--set "$2") ;;
    *) fail "unknown argument $1; see the head of this script" ;;
  esac
  shift 2
done
[ -r "$hosts" ] || fail '--hosts names no file that can be read'
ssh+=(-T -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=3)

destinations=() addresses=() interfaces=() counts=()
while read -r destination options; do
  case $destination in '' | '#'*) continue ;; esac
  address=${destination##*@} interface='' count=$per_host
  for option in $options; do
    case $option in
      address=*) address=${option#*=} ;;
      interface=*) interface=${option#*=} ;;
      workers=*) count=${option#*=} ;;
      *) fail "$hosts: $destination: what is $option?" ;;
    esac
  done
  destinations+=("$destination") addresses+=("$address") interfaces+=("$interface") counts+=("$count")
  case $address in
    localhost | 127.*) ;;
    *) [ -n "$credentials" ] || fail "without --credentials a run stays on loopback, and $address is another machine" ;;
  esac
done <"$hosts"
[ ${#destinations[@]} -gt 0 ] || fail "$hosts names no host"

slots=() host_of_slot=() number_of_slot=()
for n in "${!destinations[@]}"; do
  for ((count = 0; count < counts[n]; count++)); do
    host_of_slot+=("$n") number_of_slot+=("$count")
    slots+=("worker-${#slots[@]}")
  done
done
[ ${#slots[@]} -gt 0 ] || fail "$hosts asks for no worker"

programs "$here/../.."
sets=(--set "run.workers=${#slots[@]}" "${sets[@]}")
resolve ${config[0]:+--config "${config[0]}"} "${sets[@]}"
: "${logs:=runs/$(knob run.name)/logs}"
mkdir -p "$logs"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What a host is handed on the standard input of its processes, so that no secret stands in a command line: run file, environment,
# and its role's credentials.
parcel() { # role
  local name from="$scratch/$1"
  rm -rf "$from"
  mkdir -m 700 "$from"
  {
    for name in "${names[@]}"; do printf '%s=%q\n' "$name" "${!name-}"; done
    # shellcheck disable=SC2016  # the other side has that variable
    [ -z "$credentials" ] || echo 'TANDEM_CREDENTIALS=$private/credentials'
  } >"$from/environment"
  [ ${#config[@]} = 0 ] || cp "${config[0]}" "$from/run.toml"
  [ -z "$credentials" ] || cp -R "$credentials/$1" "$from/credentials"
  tar -C "$from" -czf - . | base64 -w 0
  rm -rf "$from"
}

# This is what a host runs: a command, in a folder. The first line of its input is the parcel, each later one the name of a signal; the
# end of the input, when this script or the connection is gone, is a SIGTERM. The command writes into a file, so that a slow or broken
# connection neither holds it up nor ends it.
# shellcheck disable=SC1091,SC2329  # it is sent as text; the environment file comes with the parcel
place() { # folder bin command...
  local child line code=0 usual
  usual=$(umask)
  umask 077
  mkdir -p "$HOME/.tandem"
  private=$(mktemp -d "$HOME/.tandem/XXXXXXXX")
  trap 'rm -rf "$private"' EXIT
  IFS= read -r line
  base64 -d <<<"$line" | tar -C "$private" -xzf - || return 255
  cd "$1" || return 2
  PATH="${2:+$2:}$PATH"
  shift 2
  set -a
  . "$private/environment"
  set +a
  : >"$private/log"
  umask "$usual"
  setsid "${@/#@\//$private/}" >"$private/log" 2>&1 </dev/null &
  child=$!
  exec 3<&0
  {
    while IFS= read -r line; do kill -s "$line" "$child"; done
    kill -s TERM "$child"
    for ((line = 0; line < 120; line++)); do kill -0 "$child" && sleep 1 || exit; done
    kill -s KILL "$child"
  } <&3 >/dev/null 2>&1 &
  line=$!
  tail -n +1 -s 0.1 -f --pid "$child" "$private/log" &
  wait "$child" || code=$?
  { kill "$line"; wait; } 2>/dev/null
  return "$code"
}

quoted() { # words, for the shell at the other end
  local word
  for word; do printf "'%s' " "${word//\'/\'\\\'\'}"; done
}

at_place() { # destination command...
  local to=$1 text
  shift
  text="$(declare -f place); place \"\$@\""
  exec "${ssh[@]}" "$to" "$(quoted bash -c "$text" place "$folder" "$bin" "$@")"
}

current=0 # the host that has the coordinator
declare -A voice=()

# Each start has a pipe of its own to talk through, with the parcel in it.
ready() { # slot code
  local pipe="$scratch/$1.pipe" role=worker contents
  if [ "$1" = coordinator ]; then
    role=coordinator
    if [ "$2" = 255 ]; then
      current=$(((current + 1) % ${#destinations[@]}))
      say "the coordinator goes to ${destinations[current]}"
    fi
  fi
  local end=${voice[$1]:-}
  [ -z "$end" ] || exec {end}>&-
  rm -f "$pipe"
  mkfifo -m 600 "$pipe"
  exec {end}<>"$pipe"
  voice[$1]=$end
  contents=$(parcel "$role")
  # A pipe takes 64 KiB before somebody reads.
  ((${#contents} < 60000)) || fail 'run file, environment and credentials are too long to be handed over (45 kB)' 2
  printf '%s\n' "$contents" >&"$end"
}

begin() { # slot
  local log="$logs/$1.log" pipe="$scratch/$1.pipe" url n
  if [ "$1" = coordinator ]; then
    mark "$log"
    local listen=127.0.0.1:$port where=()
    if [ -n "$credentials" ]; then listen=0.0.0.0:$port where=(--set "cluster.advertise=${addresses[current]}:$port"); fi
    at_place "${destinations[current]}" tandem coordinator --resume ${config[0]:+--config @/run.toml} \
      --set "cluster.listen=$listen" "${where[@]}" "${sets[@]}" <"$pipe" >>"$log" 2>&1
  fi
  n=${host_of_slot[${1#worker-}]}
  url=$(printed_url "$logs/coordinator.log") || exit 75
  local metrics
  metrics=$(metrics_of "${number_of_slot[${1#worker-}]}")
  at_place "${destinations[n]}" tandem-worker --coordinator "$url" ${metrics:+--metrics "$metrics"} \
    ${interfaces[n]:+--interface "${interfaces[n]}"} <"$pipe" >>"$log" 2>&1
}
tell() { # slot signal
  printf '%s\n' "$2" >&"${voice[$1]}"
}
over() { rm -f "$logs/coordinator.log.mark"; }

# shellcheck disable=SC2329  # sent as text, too
look() { cd "$1" && PATH="${2:+$2:}$PATH" && command -v tandem tandem-worker >/dev/null; }
for n in "${!destinations[@]}"; do
  "${ssh[@]}" "${destinations[n]}" "$(quoted bash -c "$(declare -f look); look \"\$@\"" look "$folder" "$bin")" </dev/null || fail "${destinations[n]} can't be reached, or lacks $folder or the programs" 69
done
mark "$logs/coordinator.log"
code=0
crew coordinator "${slots[@]}" || code=$?
case $code in
  0) ;;
  75) say 'stopped; the same command goes on from the newest checkpoint' ;;
  *) say "ended with $code ($(meaning "$code")); the last lines of $logs/coordinator.log:"; tail -n 5 "$logs/coordinator.log" >&2 ;;
esac
exit "$code"
