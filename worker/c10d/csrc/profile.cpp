// What a thread does, as PyTorch's profiler records it: Chrome's trace events.
#include "shim.h"

#include <ATen/record_function.h>
#include <torch/csrc/autograd/profiler_kineto.h>

using namespace tandem;

struct tandem::Span {
  at::RecordFunction record{at::RecordScope::USER_SCOPE};
};

int c10d_profile_start(int cuda) {
  return guarded([&] {
    using namespace torch::profiler::impl;
    std::set<ActivityType> activities{ActivityType::CPU};
    if (cuda != 0) activities.insert(ActivityType::CUDA);
    const ProfilerConfig config(ProfilerState::KINETO);
    torch::autograd::profiler::prepareProfiler(config, activities);
    torch::autograd::profiler::enableProfiler(config, activities);
  });
}

int c10d_profile_stop(const char* path) {
  return guarded([&] {
    const auto result = torch::autograd::profiler::disableProfiler();
    if (path != nullptr) result->save(path);
  });
}

int c10d_span_open(const char* name, tandem::Span** out) {
  return guarded([&] {
    auto span = std::make_unique<Span>();
    if (span->record.isActive()) span->record.before(name);
    *out = span.release();
  });
}

void c10d_span_close(tandem::Span* span) { delete span; }
