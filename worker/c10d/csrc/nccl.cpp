// NCCL's process group, in a shared library of its own (scripts/build_nccl.sh), so that nothing else needs CUDA. It is
// loaded after libtorch_cuda.so by src/cuda.rs; the three functions are its whole interface.
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <exception>
#include <string>

namespace {

thread_local std::string last_error;

template <typename Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception that is no std::exception";
  }
  return 1;
}

// What an operator has set stays as it is.
void set_default(const char* name, const std::string& value) { setenv(name, value.c_str(), /*overwrite=*/0); }

// libtorch reads these when the first group is made. A lost peer must end in an error that the worker survives: the
// watchdog aborts the communicator and leaves the process alone, and no monitor thread kills it.
void set_defaults(int64_t timeout_ms) {
  set_default("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2");
  set_default("TORCH_NCCL_ENABLE_MONITORING", "0");
  set_default("TORCH_NCCL_NONBLOCKING_TIMEOUT", std::to_string(timeout_ms / 1000 + 1));
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) const char* tandem_nccl_last_error() { return last_error.c_str(); }

// The number of CUDA devices. Fails, with CUDA's words, where there is no driver or no device.
__attribute__((visibility("default"))) int tandem_nccl_device_count(int* count) {
  const cudaError_t status = cudaGetDeviceCount(count);
  if (status == cudaSuccess) return 0;
  last_error = cudaGetErrorString(status);
  return 1;
}

// `store` is a c10::intrusive_ptr<c10d::Store>*; `*out` becomes an owned c10::intrusive_ptr<c10d::Backend>*.
__attribute__((visibility("default"))) int tandem_nccl_backend_new(void* store, int rank, int world_size, int device,
                                                                   int64_t timeout_ms, void** out) {
  return guarded([&] {
    set_defaults(timeout_ms);
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/false);
    options->timeout = std::chrono::milliseconds(timeout_ms);
    options->config.blocking = 0;  // a call that waits for a lost peer can be aborted
    auto& shared = *static_cast<c10::intrusive_ptr<c10d::Store>*>(store);
    auto backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(shared, rank, world_size, options);
    backend->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *out = new c10::intrusive_ptr<c10d::Backend>(std::move(backend));
  });
}
}
