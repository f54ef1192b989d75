# shellcheck shell=bash
# What scripts share that need packages from PyPI: an environment for them in the cache outside the clone, made once for a list of
# packages and a version of Python. A script that sources this calls
#   need_python                    checks that there is a Python
#   need_version VERSION           checks that it is not older
#   environment SIZE PACKAGE...    makes the environment unless it is there, and sets `folder` to it; SIZE, if it is not empty, is what it
#                                  takes on disk
#   use_environment                lets every Python that is started from now on find the packages

script=$(basename "$0" .sh)

fail() { printf '%s: %s\n' "$script" "$*" >&2; exit 1; }

need_python() {
  command -v python3 >/dev/null || fail 'python3 is missing: apt-get install python3 python3-pip (Debian, Ubuntu)'
}

need_version() { # version
  python3 -c "import sys; sys.exit(sys.version_info < (${1/./, }))" || fail "$(python3 --version) is too old: Python $1 or later is needed"
}

environment() { # size package...
  local size=$1 version name
  shift
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  name=$(printf '%s\n' "$version" "$@" | sha256sum | cut -c 1-12)
  folder="${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}/$script-$name"
  [ ! -e "$folder/complete" ] || return 0
  partial="$folder.partial.$$"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "${folder%/*}"
  printf '%s: installing %s into %s\n' "$script" "$*" "$folder"
  python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --no-compile --target "$partial" "$@" ||
    fail "pip could not install the packages: check the network${size:+ and the space on disk ($size)}, and call it again"
  touch "$partial/complete"
  rm -rf "$folder"
  mv "$partial" "$folder"
  trap - EXIT
}

use_environment() {
  export PYTHONPATH="$folder" PYTHONDONTWRITEBYTECODE=1
}
