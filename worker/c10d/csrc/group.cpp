// Process groups and their collectives. Each collective returns when its result is there, or with the error.
#include "group.h"

#include "store.h"

#include <gloo/context.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/exception.h>

#include <thread>

namespace tandem {
namespace {

using c10::intrusive_ptr;
using c10d::ProcessGroup;
using std::chrono::milliseconds;

// libtorch's Gloo backend has no abort: closing its connections ends what waits on them, here and at the peers.
class AbortableGloo final : public c10d::ProcessGroupGloo {
 public:
  using ProcessGroupGloo::ProcessGroupGloo;

  void abort() override {
    for (auto& context : contexts_) context->closeConnections();
  }
};

GroupHandle* wrap(StoreHandle* store, int rank, int world_size, milliseconds timeout,
                  intrusive_ptr<c10d::Backend> backend, bool cuda) {
  auto group = c10::make_intrusive<ProcessGroup>(store->store, rank, world_size);
  const auto type = cuda ? ProcessGroup::BackendType::NCCL : ProcessGroup::BackendType::GLOO;
  group->setBackend(cuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU, type, backend);
  group->setDefaultBackend(type);
  group->setGroupName("tandem");
  return new GroupHandle{std::move(group), std::move(backend), timeout, cuda,
                         std::make_shared<std::atomic<bool>>(false)};
}

void check_not_aborted(const GroupHandle& group) {
  if (*group.aborted) C10D_THROW_ERROR(DistNetworkError, "the group was aborted");
}

// Waits on the host, so that a peer that never comes ends in an error here and not in a hang at the next use.
void wait_on_device(const GroupHandle& group, c10d::Work& work) {
  const auto deadline = std::chrono::steady_clock::now() + group.timeout;
  while (!work.isCompleted()) {
    check_not_aborted(group);
    if (std::chrono::steady_clock::now() > deadline) {
      C10D_THROW_ERROR(TimeoutError, "a collective did not complete in ", group.timeout.count(), " ms");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  check_not_aborted(group);
  if (auto error = work.exception()) std::rethrow_exception(error);
  work.wait();
}

template <typename Issue>
int collective(GroupHandle* group, Issue&& issue) {
  return guarded([&] {
    check_not_aborted(*group);
    intrusive_ptr<c10d::Work> work = issue(*group->backend);
    if (group->cuda) {
      wait_on_device(*group, *work);
    } else {
      work->wait();
    }
  });
}

}  // namespace
}  // namespace tandem

struct tandem::AbortHandle {
  // Weak, so that a handle that outlives its group does not keep the connections open.
  c10::weak_intrusive_ptr<c10d::Backend> backend;
  std::shared_ptr<std::atomic<bool>> aborted;
};

using namespace tandem;

int c10d_group_gloo(StoreHandle* store, int rank, int world_size, const char* interface, int64_t timeout_ms,
                    GroupHandle** out) {
  return guarded([&] {
    const milliseconds timeout(timeout_ms);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(interface));
    options->threads = 2;
    auto backend = c10::make_intrusive<AbortableGloo>(store->store, rank, world_size, options);
    *out = wrap(store, rank, world_size, timeout, std::move(backend), false);
  });
}

int c10d_group_cuda(StoreHandle* store, int rank, int world_size, int64_t timeout_ms, void* backend,
                    GroupHandle** out) {
  return guarded([&] {
    std::unique_ptr<intrusive_ptr<c10d::Backend>> owned(static_cast<intrusive_ptr<c10d::Backend>*>(backend));
    *out = wrap(store, rank, world_size, milliseconds(timeout_ms), *owned, true);
  });
}

void c10d_group_free(GroupHandle* group) {
  // Whatever still runs (the buckets behind a failed one) must not be waited for until its timeout.
  guarded([&] {
    *group->aborted = true;
    group->backend->abort();
  });
  guarded([&] { delete group; });
}

int c10d_all_reduce(GroupHandle* group, at::Tensor* tensor, int op) {
  return collective(group, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> list{*tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = static_cast<c10d::ReduceOp::RedOpType>(op);
    return backend.allreduce(list, options);
  });
}

int c10d_broadcast(GroupHandle* group, at::Tensor* tensor, int root) {
  return collective(group, [&](c10d::Backend& backend) {
    std::vector<at::Tensor> list{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return backend.broadcast(list, options);
  });
}

int c10d_all_gather(GroupHandle* group, at::Tensor* output, at::Tensor* input) {
  return collective(group, [&](c10d::Backend& backend) { return backend._allgather_base(*output, *input); });
}

int c10d_barrier(GroupHandle* group) {
  return collective(group, [&](c10d::Backend& backend) { return backend.barrier(); });
}

int c10d_abort_handle(GroupHandle* group, AbortHandle** out) {
  return guarded([&] {
    *out = new AbortHandle{c10::weak_intrusive_ptr<c10d::Backend>(group->backend), group->aborted};
  });
}

int c10d_abort(AbortHandle* handle) {
  return guarded([&] {
    if (auto backend = handle->backend.lock()) {
      *handle->aborted = true;
      backend->abort();
    }
  });
}

void c10d_abort_free(AbortHandle* handle) { delete handle; }
