#!/usr/bin/env bash
# Builds torch/lib/libtandem_nccl.so, the NCCL backend that workers load for CUDA (worker/c10d/csrc/nccl.cpp).
# Usage: scripts/build_nccl.sh LIBTORCH
#   LIBTORCH  the folder that holds torch/ and nvidia/ side by side, as `scripts/setup.sh --cuda` installs it.
set -euo pipefail

if [[ $# -ne 1 ]]; then
  echo "usage: scripts/build_nccl.sh LIBTORCH" >&2
  exit 2
fi
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../worker/c10d/csrc" && pwd)
libtorch=$(cd "$1" && pwd)
cuda=$libtorch/nvidia/cu13
nccl=$libtorch/nvidia/nccl
output=$libtorch/torch/lib/libtandem_nccl.so

for file in torch/include/torch/headeronly/version.h nvidia/cu13/include/cuda_runtime_api.h \
  nvidia/cu13/include/crt/host_config.h nvidia/cu13/include/nv/target nvidia/nccl/include/nccl.h; do
  if [[ ! -e $libtorch/$file ]]; then
    echo "$libtorch/$file is missing: run scripts/setup.sh --cuda" >&2
    exit 1
  fi
done

# The libraries find each other where the wheels lie; written beside the output first, so that a failed or a parallel
# build never leaves half a library.
"${CXX:-g++}" -std=c++20 -O2 -fPIC -shared -fvisibility=hidden -DUSE_C10D_NCCL -DUSE_DISTRIBUTED \
  -isystem "$libtorch/torch/include" -isystem "$libtorch/torch/include/torch/csrc/api/include" \
  -isystem "$cuda/include" -isystem "$nccl/include" \
  "$source_folder/nccl.cpp" -o "$output.$$" \
  -Wl,-rpath,'$ORIGIN' -Wl,-rpath,'$ORIGIN/../../nvidia/cu13/lib' -Wl,-rpath,'$ORIGIN/../../nvidia/nccl/lib' \
  -L"$libtorch/torch/lib" -ltorch_cuda -lc10_cuda -ltorch_cpu -lc10 \
  -L"$cuda/lib" -l:libcudart.so.13 -L"$nccl/lib" -l:libnccl.so.2
mv "$output.$$" "$output"
echo "built $output"
