// A process group with its one backend.
#pragma once

#include "shim.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <atomic>
#include <chrono>
#include <memory>

struct tandem::GroupHandle {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  c10::intrusive_ptr<c10d::Backend> backend;
  std::chrono::milliseconds timeout;
  // Whether the backend is NCCL, whose works complete on the device.
  bool cuda;
  // Set before an abort: NCCL's killed kernels look complete.
  std::shared_ptr<std::atomic<bool>> aborted;
};
