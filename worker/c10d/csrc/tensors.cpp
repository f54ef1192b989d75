// Kernels over lists of tensors, and autocast: what tch does not offer.
#include "shim.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

using namespace tandem;

namespace {
at::DeviceType device_type(int cuda) { return cuda != 0 ? at::kCUDA : at::kCPU; }
}  // namespace

int c10d_fused_adamw(at::Tensor* const* parameters, at::Tensor* const* grads, at::Tensor* const* exp_avgs,
                     at::Tensor* const* exp_avg_sqs, size_t count, double step, double lr, double beta1, double beta2,
                     double weight_decay, double eps) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    auto list = tensors(parameters, count);
    if (list.empty()) return;
    // The kernel reads the step and leaves it; all parameters share it.
    const auto shared_step = at::full({}, step, list[0].options().dtype(at::kFloat).requires_grad(false));
    const std::vector<at::Tensor> steps(count, shared_step);
    at::_fused_adamw_(list, tensors(grads, count), tensors(exp_avgs, count), tensors(exp_avg_sqs, count), {}, steps,
                      lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

int c10d_lerp(at::Tensor* const* targets, at::Tensor* const* sources, size_t count, double weight) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    if (count > 0) at::_foreach_lerp_(tensors(targets, count), tensors(sources, count), weight);
  });
}

int c10d_global_norm(at::Tensor* const* list, size_t count, at::Tensor* out) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    const auto norms = at::_foreach_norm(tensors(list, count), 2, at::kDouble);
    *out = at::linalg_vector_norm(at::stack(norms), 2);
  });
}

int c10d_scale(at::Tensor* const* list, size_t count, double factor) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    if (count > 0) at::_foreach_mul_(tensors(list, count), factor);
  });
}

int c10d_autocast_enter(int cuda, int* was_enabled, int* previous_type) {
  return guarded([&] {
    const auto device = device_type(cuda);
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *previous_type = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::increment_nesting();
  });
}

int c10d_autocast_leave(int cuda, int was_enabled, int previous_type) {
  return guarded([&] {
    const auto device = device_type(cuda);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(previous_type));
  });
}
