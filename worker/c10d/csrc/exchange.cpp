// Rows from every rank to every rank, with gradient.
#include "group.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <numeric>
#include <utility>

namespace tandem {
namespace {

using Splits = std::vector<int64_t>;

int64_t sum(const Splits& splits) { return std::accumulate(splits.begin(), splits.end(), int64_t{0}); }

// Rows of `input`, `send[r]` to each rank r; returns the rows that came, `receive[r]` of each rank r.
at::Tensor all_to_all(const GroupContext& context, const at::Tensor& input, const Splits& send, const Splits& receive) {
  auto shape = input.sizes().vec();
  shape[0] = sum(receive);
  auto output = at::empty(shape, input.options().requires_grad(false));
  auto contiguous = input.detach().contiguous();
  Splits output_splits = receive, input_splits = send;
  run(context, [&](c10d::Backend& backend) {
    return backend.alltoall_base(output, contiguous, output_splits, input_splits, c10d::AllToAllOptions());
  });
  return output;
}

// The gradient of a row goes back the way that the row came.
struct Return final : torch::autograd::Node {
  GroupContext context;
  Splits sent, received;
  at::TensorOptions options;
  std::vector<int64_t> shape;

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    const at::NoGradGuard no_grad;
    const auto gradient = gradients.at(0).defined() ? gradients[0] : at::zeros(shape, options);
    return {all_to_all(context, gradient, received, sent)};
  }

  std::string name() const override { return "AllToAllRowsBackward"; }
};

}  // namespace
}  // namespace tandem

using namespace tandem;

int c10d_all_to_all(GroupHandle* group, at::Tensor* input, const int64_t* send, const int64_t* receive, size_t ranks,
                    at::Tensor* out) {
  return guarded(*group->context.control, [&] {
    const Splits sent(send, send + ranks), received(receive, receive + ranks);
    auto output = [&] {
      const at::NoGradGuard no_grad;
      return all_to_all(group->context, *input, sent, received);
    }();
    if (torch::autograd::compute_requires_grad(*input)) {
      auto node = c10::make_intrusive<Return>();
      node->context = group->context;
      node->sent = sent;
      node->received = received;
      node->options = output.options();
      node->shape = output.sizes().vec();
      node->set_next_edges(torch::autograd::collect_next_edges(*input));
      torch::autograd::set_history(output, node);
    }
    *out = output;
  });
}
