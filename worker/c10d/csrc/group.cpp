// Process groups and their collectives. Each collective returns when its result is there, or with the error.
#include "group.h"

#include "gloo.h"
#include "store.h"

#include <thread>

namespace tandem {
namespace {

using c10::intrusive_ptr;
using c10d::ProcessGroup;
using std::chrono::milliseconds;

GroupHandle* wrap(StoreHandle* store, int rank, int world_size, milliseconds timeout,
                  intrusive_ptr<c10d::Backend> backend, bool cuda) {
  auto group = c10::make_intrusive<ProcessGroup>(store->store, rank, world_size);
  const auto type = cuda ? ProcessGroup::BackendType::NCCL : ProcessGroup::BackendType::GLOO;
  group->setBackend(cuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU, type, backend);
  group->setDefaultBackend(type);
  group->setGroupName("tandem");
  auto control = std::make_shared<Control>();
  control->backend = std::move(backend);
  return new GroupHandle{std::move(group), GroupContext{std::move(control), timeout, cuda}};
}

template <typename Issue>
int collective(GroupHandle* group, Issue&& issue) {
  return guarded(*group->context.control, [&] { run(group->context, issue); });
}

}  // namespace

void wait_on_device(const GroupContext& group, c10d::Work& work) {
  const auto deadline = std::chrono::steady_clock::now() + group.timeout;
  while (!work.isCompleted()) {
    check_not_aborted(*group.control);
    if (std::chrono::steady_clock::now() > deadline) {
      C10D_THROW_ERROR(TimeoutError, "a collective did not complete in ", group.timeout.count(), " ms");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  check_not_aborted(*group.control);
  if (auto error = work.exception()) std::rethrow_exception(error);
  work.wait();
}

void Control::abort() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (backend == nullptr) return;
  aborted = true;
  backend->abort();
}

}  // namespace tandem

struct tandem::AbortHandle {
  std::shared_ptr<Control> control;
};

using namespace tandem;

int c10d_group_gloo(StoreHandle* store, int rank, int world_size, const char* interface, int64_t meeting_ms,
                    int64_t timeout_ms, GroupHandle** out) {
  return guarded([&] {
    const milliseconds timeout(timeout_ms);
    auto backend = make_gloo(store->store, rank, world_size, interface, milliseconds(meeting_ms), timeout);
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
  guarded([&] {
    std::unique_ptr<GroupHandle> owned(group);
    // Whatever still runs (the buckets behind a failed one) must not be waited for until its timeout.
    owned->context.control->abort();
    const std::lock_guard<std::mutex> lock(owned->context.control->mutex);
    owned->context.control->backend.reset();
  });
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
  return guarded([&] { *out = new AbortHandle{group->context.control}; });
}

int c10d_abort(AbortHandle* handle) {
  return guarded([&] { handle->control->abort(); });
}

void c10d_abort_free(AbortHandle* handle) { delete handle; }
