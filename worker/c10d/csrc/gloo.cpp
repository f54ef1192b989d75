// libtorch's Gloo backend has no abort: here is one that ends every operation, whatever it waits for.
#include "gloo.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/exception.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace tandem {
namespace {

using c10::intrusive_ptr;
using c10d::Work;
using std::chrono::milliseconds;
using Future = c10::ivalue::Future;

// How an operation ends for those who wait for it: by itself, or by an abort.
class Watched final : public Work {
 public:
  explicit Watched(intrusive_ptr<Future> outcome) : outcome_(std::move(outcome)) {}

  bool wait(milliseconds /*timeout*/) override {
    outcome_->waitAndThrow();
    return true;
  }
  intrusive_ptr<Future> getFuture() override { return outcome_; }

 private:
  intrusive_ptr<Future> outcome_;
};

// The operations that are not done. Their callbacks may outlive the backend's own members, so it is shared.
class Pending {
 public:
  intrusive_ptr<Work> watch(const std::shared_ptr<Pending>& self, const intrusive_ptr<Work>& work) {
    auto inner = work->getFuture();
    auto outcome = c10::make_intrusive<Future>(inner->elementType());
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      operations_.push_back({work, outcome});
    }
    inner->addCallback([self, outcome](Future& inner) { self->end(outcome, inner); }, /*uses_future=*/true);
    return c10::make_intrusive<Watched>(outcome);
  }

  // Waits until all are done, at most `patience`; those that are not then have failed for whoever waits for them. Returns those.
  std::vector<intrusive_ptr<Work>> give_up(milliseconds patience) {
    std::unique_lock<std::mutex> lock(mutex_);
    over_ = true;
    done_.wait_for(lock, patience, [&] { return operations_.empty(); });
    const auto given_up = std::exchange(operations_, {});
    lock.unlock();
    const auto error = std::make_exception_ptr(
        c10d::DistNetworkError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, "the group was aborted"));
    std::vector<intrusive_ptr<Work>> left;
    for (const auto& operation : given_up) {
      operation.outcome->setError(error);
      left.push_back(operation.work);
    }
    return left;
  }

  // Whether an operation that begins now has nobody to give it up.
  bool over() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return over_;
  }

 private:
  struct Operation {
    intrusive_ptr<Work> work;
    intrusive_ptr<Future> outcome;
  };

  // Whoever takes an operation from the list completes it, without the lock: what waits for it may be an operation too.
  void end(const intrusive_ptr<Future>& outcome, Future& inner) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto is_this = [&](const Operation& operation) { return operation.outcome == outcome; };
      const auto found = std::find_if(operations_.begin(), operations_.end(), is_this);
      if (found == operations_.end()) return;
      operations_.erase(found);
    }
    if (inner.hasError()) {
      outcome->setError(inner.exception_ptr());
    } else {
      outcome->markCompleted(inner.constValue());
    }
    done_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<Operation> operations_;
  bool over_ = false;
};

// A receive that times out closes all connections of its group, and with them ends what waits to receive: so wait a moment for what
// nobody sends. That does not end what waits to send: Gloo (gloo/transport/tcp/pair.cc, signalException) forgets those whose bytes
// are queued for a peer that takes none, or that is gone. Their waiting is ended here, and they are left to their timeout.
class AbortableGloo final : public c10d::ProcessGroupGloo {
 public:
  using ProcessGroupGloo::ProcessGroupGloo;

  void abort() override {
    close_connections();
    constexpr milliseconds until_all_have_heard(100);
    auto left = pending_->give_up(until_all_have_heard);
    if (left.empty()) return;
    // The backend's destructor waits for its operations, and must not where somebody else waits for it.
    auto self = intrusive_ptr<AbortableGloo>::reclaim_copy(this);
    std::thread([self = std::move(self), left = std::move(left)] {
      for (const auto& work : left) {
        try {
          work->wait();
        } catch (const std::exception&) {
          // Whoever waited for it has been told.
        }
      }
    }).detach();
  }

  intrusive_ptr<Work> allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override {
    return watched(ProcessGroupGloo::allreduce(tensors, options));
  }
  intrusive_ptr<Work> broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override {
    return watched(ProcessGroupGloo::broadcast(tensors, options));
  }
  // _allgather_base is this one too.
  intrusive_ptr<Work> allgather(std::vector<std::vector<at::Tensor>>& outputs, std::vector<at::Tensor>& inputs,
                                const c10d::AllgatherOptions& options) override {
    return watched(ProcessGroupGloo::allgather(outputs, inputs, options));
  }
  intrusive_ptr<Work> alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_counts,
                                    std::vector<int64_t>& input_counts, const c10d::AllToAllOptions& options) override {
    return watched(ProcessGroupGloo::alltoall_base(output, input, output_counts, input_counts, options));
  }
  intrusive_ptr<Work> barrier(const c10d::BarrierOptions& options) override {
    return watched(ProcessGroupGloo::barrier(options));
  }

 private:
  void close_connections() {
    constexpr int unused_tag = 0x7ab07;
    for (int peer = 0; peer < getSize(); peer++) {
      if (peer == getRank()) continue;
      try {
        std::vector<at::Tensor> nothing{at::empty({1}, at::kByte)};
        recv(nothing, peer, unused_tag)->wait(milliseconds(1));
      } catch (const std::exception&) {
        // Expected: it timed out, or this connection is closed already. Then the next peer's may still be open.
      }
    }
  }

  intrusive_ptr<Work> watched(const intrusive_ptr<Work>& work) {
    auto watched = pending_->watch(pending_, work);
    // An abort may have come since the caller looked, before this operation was on the list.
    if (pending_->over()) abort();
    return watched;
  }

  std::shared_ptr<Pending> pending_ = std::make_shared<Pending>();
};

}  // namespace

intrusive_ptr<c10d::Backend> make_gloo(intrusive_ptr<c10d::Store> store, int rank, int world_size,
                                       const std::string& interface, milliseconds meeting, milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(meeting);
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(interface));
  options->threads = 2;
  auto backend = c10::make_intrusive<AbortableGloo>(std::move(store), rank, world_size, options);
  // All have met: from here on it is the collectives' time.
  backend->setTimeout(timeout);
  return backend;
}

}  // namespace tandem
