# shellcheck shell=bash
# What the launch scripts share: a crew of processes that are started, started again as their exit codes say, told of signals, and
# ended in order. A script that sources this defines
#   begin SLOT         becomes the process of that slot (it runs in a subshell); its output goes where the script likes
#   tell SLOT SIGNAL   passes a signal on; `tell_process` does for processes of this machine
#   over               if it likes: hears that the coordinator has ended for good
#   ready SLOT CODE    if it likes: hears that a slot is about to be started, after it ended with CODE
# and calls `crew SLOT...`. The slot `coordinator`, where there is one, decides how the crew ends; all others are its workers.

# Seconds that workers get to end by themselves once the run is over, and after they were asked.
: "${TANDEM_LAUNCH_GRACE:=60}" "${TANDEM_LAUNCH_TERM:=20}"
# A process that lives less long did not come up; after so many in a row its slot is given up.
YOUNG=10
TRIES=5

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() { say "$1"; exit "${2:-2}"; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) || fail "bash $BASH_VERSION is too old: 5.1 or later is needed"

# The programs: those of TANDEM_BIN, else of this clone, else of the PATH.
programs() { # clone
  local folder
  for folder in "${TANDEM_BIN:-}" "$1/target/release" "$1/target/debug"; do
    if [ -n "$folder" ] && [ -x "$folder/tandem" ]; then
      TANDEM_BIN=$(cd "$folder" && pwd)
      export TANDEM_BIN PATH="$TANDEM_BIN:$PATH"
      return
    fi
  done
  command -v tandem >/dev/null || fail "tandem is neither in TANDEM_BIN nor built nor on the PATH"
}

# Reads the resolved configuration once. `tandem config` says what is wrong with it, and with which code.
resolve() { # layers...
  RESOLVED=$(tandem config "$@") || exit $?
}

# A knob of it.
knob() { # section.key
  awk -v section="[${1%.*}]" -v key="${1##*.}" '
    /^\[/ { inside = $0 == section }
    inside && $1 == key && $2 == "=" { sub(/^[^=]*= */, ""); gsub(/^"|"$/, ""); print; exit }' <<<"$RESOLVED"
}

# Waits until a command succeeds; fails after so many seconds.
until_true() { # seconds command...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}

# Whether a worker or coordinator that ended with this code is started again. proto/src/exit.rs has the codes. A worker that ended with 75 was sent
# away (or the run is over), one with 70 or 78 is on a machine that is not sound, and 2, 65 and 74 need a person.
again() { # code
  case $1 in
    76 | 69) true ;;      # a peer was lost; the coordinator or a store is not there
    255) true ;;          # ssh: no connection
    *) [ "$1" -gt 128 ] ;; # killed
  esac
}

# What a code means, for people.
meaning() { # code
  case $1 in
    0) echo 'all is done' ;;
    2) echo 'wrong command line or configuration' ;;
    65) echo 'data or a checkpoint is missing or broken' ;;
    69) echo 'the coordinator or a store is out of reach, or a port is taken' ;;
    70) echo 'the run cannot go on by itself' ;;
    74) echo 'output cannot be written' ;;
    75) echo 'stopped or sent away by request' ;;
    76) echo 'a peer or the coordinator was lost' ;;
    77) echo 'another coordinator has the run' ;;
    78) echo 'the device is not there' ;;
    255) echo 'the connection was lost' ;;
    *) if [ "$1" -gt 128 ]; then echo "killed by SIG$(kill -l "$1")"; else echo 'unknown'; fi ;;
  esac
}

declare -A slot_of=() process_of=() began=() soon=() sent_away=()
recalled=0  # until then a worker that ends with 75 is started again
stopping='' # the signal that asked for the end
verdict=''  # how the run ended, once that is known
blamed=''   # code of the first worker that was given up
stage=0     # how hard those that are left have been asked to go

tell_process() { # slot signal
  kill -s "$2" "${process_of[$1]}" 2>/dev/null || true
}

start() { # slot seconds-to-wait code
  if declare -F ready >/dev/null; then ready "$1" "$3"; fi
  {
    trap - INT TERM HUP USR1
    sleep "$2"
    begin "$1"
  } &
  slot_of[$!]=$1
  process_of[$1]=$!
  began[$1]=$((SECONDS + $2))
}

# An alarm is a process like the others, since `wait` has no deadline.
alarm() { # seconds
  case " ${slot_of[*]} " in *' alarm '*) return ;; esac
  sleep "$1" &
  slot_of[$!]=alarm
  process_of[alarm]=$!
}

asked() { # signal
  if [ -z "$stopping" ]; then
    say 'asked to stop: the run stops with a checkpoint; a second signal ends it at once'
  fi
  stopping=$1
  # Without a coordinator here the workers are told: each leaves the run at its next step.
  local slot
  for slot in "${slot_of[@]}"; do
    case $slot in
      coordinator) tell coordinator USR1 ;;
      alarm) ;;
      *) [ -n "${process_of[coordinator]:-}" ] || tell "$slot" TERM ;;
    esac
  done
}

# The next harder way of asking those that are left.
press() {
  local slot signal=TERM process
  stage=$((stage + 1))
  ((stage == 1)) || signal=KILL
  for process in "${!slot_of[@]}"; do
    slot=${slot_of[$process]}
    [ "$slot" != alarm ] || continue
    say "$slot is still there: SIG$signal"
    # A worker that hangs on the far side of a connection leaves that to be cut.
    if ((stage > 2)); then kill -KILL "$process" 2>/dev/null || true; else tell "$slot" "$signal"; fi
  done
  alarm "$TANDEM_LAUNCH_TERM"
}

# The coordinator is started again. Where it was a connection that broke, its far end stops the run unless the next coordinator is
# quicker: so workers that end with 75 about then are still wanted.
call_back() {
  local slot
  recalled=$((SECONDS + 2 * TANDEM_LAUNCH_GRACE))
  for slot in "${!sent_away[@]}"; do
    ((SECONDS - sent_away[$slot] > TANDEM_LAUNCH_GRACE)) || start "$slot" 0 75
    unset "sent_away[$slot]"
  done
}

wanted() { # slot code
  [ -z "$stopping$verdict" ] && ((${soon[$1]} < TRIES)) || return 1
  again "$2" || { [ "$2" = 75 ] && [ "$1" != coordinator ] && ((SECONDS < recalled)); }
}

ended() { # slot code
  local slot=$1 code=$2 wait=0 lived=$((SECONDS - began[$1]))
  # 69 says that it did not come up, however long it tried; where there is no connection nothing was tried.
  if [ "$code" = 69 ] || { ((lived < YOUNG)) && [ "$code" != 255 ]; }; then
    soon[$slot]=$((${soon[$slot]:-0} + 1))
  else
    soon[$slot]=0
  fi
  if wanted "$slot" "$code"; then
    ((soon[$slot] < 2)) || wait=$((1 << (soon[$slot] - 2)))
    [ "$code" != 255 ] || wait=5
    say "$slot ended with $code ($(meaning "$code")); it is started again"
    start "$slot" "$wait" "$code"
    if [ "$slot" = coordinator ]; then call_back; fi
    return
  fi
  [ "$code" = 0 ] || [ -n "$verdict" ] || say "$slot ended with $code ($(meaning "$code"))"
  if [ "$slot" = coordinator ]; then
    verdict=$code
    if declare -F over >/dev/null; then over; fi
    ((${#slot_of[@]} == 0)) || alarm "$TANDEM_LAUNCH_GRACE"
    return
  fi
  case $code in 0) ;; 75) sent_away[$slot]=$SECONDS ;; *) blamed=${blamed:-$code} ;; esac
  # The last worker is gone for good. The coordinator that knows why ends by itself; one that waits for others waits in vain.
  if [ -z "$verdict" ] && [ -n "${process_of[coordinator]:-}" ] && ((${#slot_of[@]} == 1)); then alarm "$TANDEM_LAUNCH_GRACE"; fi
}

# Runs the slots until all have ended. Returns the coordinator's exit code; without one, the last worker's.
crew() { # slot...
  local slot process='' code last=0
  for slot in INT TERM HUP USR1; do
    # shellcheck disable=SC2064
    trap "asked $slot" "$slot"
  done
  for slot; do start "$slot" 0 0; done
  while ((${#slot_of[@]})); do
    code=0
    # Its standard error would say `Killed` with a piece of this script.
    wait -n -p process "${!slot_of[@]}" 2>/dev/null || code=$?
    # Nothing has ended: a signal came, and its trap has seen to it.
    [ -n "${process:-}" ] || continue
    slot=${slot_of[$process]}
    unset "slot_of[$process]"
    if [ "$slot" = alarm ]; then press; continue; fi
    last=$code
    ended "$slot" "$code"
    if ((${#slot_of[@]} == 1)) && [ "${slot_of[*]}" = alarm ]; then kill "${!slot_of[@]}"; break; fi
  done
  trap - INT TERM HUP USR1
  # Where workers that failed left a coordinator waiting, they are the cause.
  if [ -n "$blamed" ] && { [ -z "$verdict" ] || ((stage > 0 && verdict == 75)); }; then verdict=$blamed; fi
  return "${verdict:-$last}"
}

# Remembers where a log ends, before a coordinator is started that appends to it.
mark() { # log
  touch "$1"
  wc -c <"$1" >"$1.mark.new"
  mv "$1.mark.new" "$1.mark"
}

# Waits for the URL that the coordinator prints, and prints it. Fails when the mark is removed (there will be no coordinator), and when
# the launch script is gone.
printed_url() { # log
  local url=''
  until [ -n "$url" ]; do
    [ -s "$1.mark" ] && kill -0 $$ 2>/dev/null || return 1
    url=$(tail -c "+$(($(<"$1.mark") + 1))" "$1" | sed -n 's/.*tandem-worker --coordinator \([^ ]*\).*/\1/p' | tail -n 1)
    [ -n "$url" ] || sleep 0.1
  done
  printf '%s\n' "$url"
}

# Workers of one machine can't serve their metrics at the same port: the n-th takes the n-th after that of TANDEM_METRICS.
metrics_of() { # n
  [ -z "${TANDEM_METRICS:-}" ] || printf '%s\n' "${TANDEM_METRICS%:*}:$((${TANDEM_METRICS##*:} + $1))"
}
