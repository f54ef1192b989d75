// The C interface between libtorch's C++ and Rust (src/ffi.rs declares the same, in the same order).
//
// Every function that can fail returns a Status; the text of the last failure on this thread is c10d_last_error(). No
// C++ exception leaves a function declared here. A tensor crosses as `at::Tensor*`, which is what tch holds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem {

// The same numbers as `Kind` in src/ffi.rs.
enum Status : int { OK = 0, TIMEOUT = 1, PEER = 2, STORE = 3, SHAPE = 4, CUDA = 5, OTHER = 6 };

// Sorts the exception in flight into a Status and keeps its text. Only to be called in a catch block.
int classify() noexcept;

// Runs `body`, turning any exception into a Status.
template <typename Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return OK;
  } catch (...) {
    return classify();
  }
}

// The tensors behind `pointers`, as handles of their own.
inline std::vector<at::Tensor> tensors(at::Tensor* const* pointers, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; i++) list.push_back(*pointers[i]);
  return list;
}

struct StoreHandle;
struct GroupHandle;
struct AbortHandle;
struct ReducerHandle;
struct Span;

// A store written in Rust. `context` is shared by the threads of libtorch, which may call it at the same time. Each call
// returns 0, or another number after it has written the text of its error to `sink`.
struct StoreCalls {
  void* context;
  void (*drop)(void* context);
  int (*set)(void* context, const char* key, const uint8_t* value, size_t length, void* sink);
  int (*get)(void* context, const char* key, int64_t timeout_ms, void* sink);
  int (*add)(void* context, const char* key, int64_t delta, int64_t* sum, void* sink);
  int (*compare_set)(void* context, const char* key, const uint8_t* expected, size_t expected_length,
                     const uint8_t* desired, size_t desired_length, void* sink);
  int (*check)(void* context, const char* const* keys, size_t count, int* present, void* sink);
  int (*remove)(void* context, const char* key, int* existed, void* sink);
  int (*wait)(void* context, const char* const* keys, size_t count, int64_t timeout_ms, void* sink);
};

}  // namespace tandem

extern "C" {
const char* c10d_last_error();

void c10d_sink_write(void* sink, const uint8_t* bytes, size_t length);
int c10d_store_new(tandem::StoreCalls calls, int64_t timeout_ms, tandem::StoreHandle** out);
void* c10d_store_pointer(tandem::StoreHandle* store);
void c10d_store_free(tandem::StoreHandle* store);

int c10d_group_gloo(tandem::StoreHandle* store, int rank, int world_size, const char* interface, int64_t meeting_ms,
                    int64_t timeout_ms, tandem::GroupHandle** out);
int c10d_group_cuda(tandem::StoreHandle* store, int rank, int world_size, int64_t timeout_ms, void* backend,
                    tandem::GroupHandle** out);
void c10d_group_free(tandem::GroupHandle* group);
int c10d_all_reduce(tandem::GroupHandle* group, at::Tensor* tensor, int op);
int c10d_broadcast(tandem::GroupHandle* group, at::Tensor* tensor, int root);
int c10d_all_gather(tandem::GroupHandle* group, at::Tensor* output, at::Tensor* input);
int c10d_all_to_all(tandem::GroupHandle* group, at::Tensor* input, const int64_t* send, const int64_t* receive,
                    size_t ranks, at::Tensor* out);
int c10d_barrier(tandem::GroupHandle* group);
int c10d_abort_handle(tandem::GroupHandle* group, tandem::AbortHandle** out);
int c10d_abort(tandem::AbortHandle* handle);
void c10d_abort_free(tandem::AbortHandle* handle);

int c10d_reducer_new(tandem::GroupHandle* group, at::Tensor* const* parameters, size_t count, int64_t bucket_bytes,
                     tandem::ReducerHandle** out);
int c10d_reducer_prepare(tandem::ReducerHandle* reducer);
int c10d_reducer_bucket_count(tandem::ReducerHandle* reducer, size_t* count);
int c10d_reducer_free(tandem::ReducerHandle* reducer);
int c10d_reducer_backward(tandem::ReducerHandle* reducer, at::Tensor* loss);
int c10d_clear_grads(at::Tensor* const* parameters, size_t count);

int c10d_fused_adamw(at::Tensor* const* parameters, at::Tensor* const* grads, at::Tensor* const* exp_avgs,
                     at::Tensor* const* exp_avg_sqs, size_t count, double step, double lr, double beta1, double beta2,
                     double weight_decay, double eps);
int c10d_lerp(at::Tensor* const* targets, at::Tensor* const* sources, size_t count, double weight);
int c10d_global_norm(at::Tensor* const* list, size_t count, at::Tensor* out);
int c10d_scale(at::Tensor* const* list, size_t count, double factor);
int c10d_autocast_enter(int cuda, int* was_enabled, int* previous_type);
int c10d_autocast_leave(int cuda, int was_enabled, int previous_type);

int c10d_profile_start(int cuda);
// Without a path nothing is written. With one, the file is written beside it and takes its place, whatever is there.
int c10d_profile_stop(const char* path);
int c10d_span_open(const char* name, tandem::Span** out);
void c10d_span_close(tandem::Span* span);
}
