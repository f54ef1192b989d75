// A process group with its one backend.
#pragma once

#include "shim.h"

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/exception.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

namespace tandem {

// What a group shares with its abort handles.
struct Control {
  // Set before an abort: NCCL's killed kernels look complete, and Gloo's closed connections look like a timeout.
  std::atomic<bool> aborted = false;
  std::mutex mutex;
  // Null once the group is freed. Under the mutex, so that an abort never meets a backend that is being destroyed.
  c10::intrusive_ptr<c10d::Backend> backend;

  // Ends what runs on the backend, here and soon at the peers.
  void abort();
};

// What a collective needs of its group. Whoever holds one does not keep the backend alive.
struct GroupContext {
  std::shared_ptr<Control> control;
  std::chrono::milliseconds timeout;
  // Whether the backend is NCCL, whose works complete on the device.
  bool cuda;
};

struct GroupHandle {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  GroupContext context;
};

inline void check_not_aborted(const Control& control) {
  if (control.aborted) C10D_THROW_ERROR(DistNetworkError, "the group was aborted");
}

// Waits on the host, so that a peer that never comes ends in an error here and not in a hang at the next use.
void wait_on_device(const GroupContext& group, c10d::Work& work);

// Runs one collective to its end.
template <typename Issue>
void run(const GroupContext& group, Issue&& issue) {
  check_not_aborted(*group.control);
  if (group.control->backend == nullptr) C10D_THROW_ERROR(DistNetworkError, "the group is gone");
  c10::intrusive_ptr<c10d::Work> work = issue(*group.control->backend);
  if (group.cuda) {
    wait_on_device(group, *work);
  } else {
    work->wait();
  }
}

// Runs `body`, which uses the backend of `control`. Any error after an abort is that abort.
template <typename Body>
int guarded(const Control& control, Body&& body) noexcept {
  return guarded([&] {
    try {
      body();
    } catch (...) {
      check_not_aborted(control);
      throw;
    }
  });
}

}  // namespace tandem
