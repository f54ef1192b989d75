// c10d's Reducer, the engine of DistributedDataParallel: buckets of gradients, all-reduced while backward still runs.
#include "group.h"

#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <string>

struct tandem::ReducerHandle {
  std::unique_ptr<c10d::Reducer> reducer;
  std::shared_ptr<Control> control;
};

using namespace tandem;

// As DistributedDataParallel makes it. The first bucket is smaller, so that the first all-reduce starts early.
int c10d_reducer_new(GroupHandle* group, at::Tensor* const* parameters, size_t count, int64_t bucket_bytes,
                     ReducerHandle** out) {
  return guarded(*group->context.control, [&] {
    auto list = tensors(parameters, count);
    const std::vector<bool> sparse(count, false);
    const int64_t first_bytes = std::min<int64_t>(c10d::kDefaultFirstBucketBytes, bucket_bytes);
    c10d::verify_params_across_processes(group->group, list, std::nullopt);
    auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
        list, {static_cast<size_t>(first_bytes), static_cast<size_t>(bucket_bytes)}, sparse);
    std::reverse(buckets.begin(), buckets.end());
    std::unordered_map<size_t, std::string> names;
    for (size_t i = 0; i < count; i++) names[i] = "parameter " + std::to_string(i);
    *out = new ReducerHandle{std::make_unique<c10d::Reducer>(
        std::move(list), std::move(buckets), group->group, sparse, bucket_bytes,
        /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true, std::move(names), first_bytes,
        /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
        /*bucket_bytes_cap_list=*/std::vector<int64_t>{}), group->context.control};
  });
}

int c10d_reducer_prepare(ReducerHandle* reducer) {
  return guarded(*reducer->control, [&] {
    check_not_aborted(*reducer->control);
    reducer->reducer->prepare_for_forward();
    reducer->reducer->rebuild_buckets();
    reducer->reducer->prepare_for_backward({});
  });
}

int c10d_reducer_bucket_count(ReducerHandle* reducer, size_t* count) {
  return guarded([&] { *count = reducer->reducer->get_grad_buckets(true).size(); });
}

int c10d_reducer_free(ReducerHandle* reducer) {
  return guarded([&] {
    std::unique_ptr<ReducerHandle> owned(reducer);
    owned->reducer->remove_autograd_hooks();
  });
}

int c10d_reducer_backward(ReducerHandle* reducer, at::Tensor* loss) {
  return guarded(*reducer->control, [&] { loss->backward(); });
}

int c10d_clear_grads(at::Tensor* const* parameters, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; i++) parameters[i]->mutable_grad().reset();
  });
}
