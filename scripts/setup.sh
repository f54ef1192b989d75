#!/usr/bin/env bash
# Makes this clone ready to build: checks the tools, and installs libtorch from PyPI's wheels into a cache outside the clone.
# Idempotent. Usage: scripts/setup.sh [--cuda]
#   --cuda   also installs the CUDA libraries that the wheels depend on, and builds the NCCL shim
# TANDEM_CACHE names the cache; the default is tandem/ in the user's cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.13.0
cache=${TANDEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tandem}
wheels=("torch==$version")
cpu_only=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
cuda_build=(nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)
# The wheels are asked for by platform, so that any Python 3 with pip can fetch them.
platform=(--python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none --only-binary=:all:
  --platform manylinux2014_x86_64 --platform any)
for glibc in 28 27 26 25 24 23 22 21 20 19 18 17; do
  platform+=(--platform "manylinux_2_${glibc}_x86_64")
done

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

case "${1:-}" in
  '') flavour=cpu ;;
  --cuda) flavour=cuda ;;
  *) fail "unknown argument $1; usage: scripts/setup.sh [--cuda]" ;;
esac
[ "$(uname -sm)" = 'Linux x86_64' ] || fail "this is $(uname -sm); libtorch's wheels are used for Linux x86_64 only"
command -v cargo >/dev/null || fail 'cargo is missing: install Rust from https://rustup.rs'
command -v c++ >/dev/null || fail 'a C++ compiler is missing: apt-get install g++ (Debian, Ubuntu) or dnf install gcc-c++ (Fedora)'
command -v python3 >/dev/null || fail 'python3 is missing: apt-get install python3 python3-pip (Debian, Ubuntu) or dnf install python3-pip (Fedora)'
python3 -m pip --version >/dev/null 2>&1 || fail 'pip is missing: apt-get install python3-pip (Debian, Ubuntu) or dnf install python3-pip (Fedora)'

verify() { # folder
  local file
  for file in torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/include/torch/csrc/api/include/torch/torch.h nvidia/cu13/lib/libcudart.so.13; do
    [ -s "$1/$file" ] || { printf 'setup: %s lacks %s\n' "$1" "$file" >&2; return 1; }
  done
  grep -q "^__version__.*'$version" "$1/torch/version.py" || { printf 'setup: %s is not libtorch %s\n' "$1" "$version" >&2; return 1; }
}

install() { # folder
  local partial="$1.partial.$$"
  trap 'rm -rf "$partial"' EXIT
  mkdir -p "$cache"
  printf 'setup: installing libtorch %s (%s) into %s\n' "$version" "$flavour" "$1"
  if [ "$flavour" = cpu ]; then
    python3 -m pip install --quiet --root-user-action=ignore --no-deps --no-compile "${platform[@]}" --target "$partial" "${wheels[@]}" "${cpu_only[@]}"
  else
    python3 -m pip install --quiet --root-user-action=ignore --no-warn-conflicts --no-compile "${platform[@]}" --target "$partial" "${wheels[@]}" "${cuda_build[@]}"
  fi || fail 'pip could not install the wheels: check the network and the space on disk, and call it again'
  verify "$partial" || fail 'the wheels do not hold what was expected'
  if [ "$flavour" = cuda ]; then
    scripts/build_nccl.sh "$partial"
  fi
  rm -rf "$1"
  mv "$partial" "$1"
  trap - EXIT
}

folder="$cache/libtorch-$version"
[ "$flavour" = cpu ] || folder+="-$flavour"
verify "$folder" 2>/dev/null || install "$folder"
ln -sfn "$folder" .libtorch
printf 'setup: ready; libtorch %s (%s) is %s\n' "$version" "$flavour" "$folder"
