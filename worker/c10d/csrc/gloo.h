// libtorch's Gloo backend, with an abort.
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>

namespace tandem {

// Meets the other ranks within `meeting`; each collective may then take `timeout`.
c10::intrusive_ptr<c10d::Backend> make_gloo(c10::intrusive_ptr<c10d::Store> store, int rank, int world_size,
                                            const std::string& interface, std::chrono::milliseconds meeting,
                                            std::chrono::milliseconds timeout);

}  // namespace tandem
