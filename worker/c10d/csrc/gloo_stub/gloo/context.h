// What ProcessGroupGloo.hpp calls of gloo::Context: a member that is not virtual and that libtorch_cpu.so exports. The
// objects are made and destroyed inside libtorch_cpu.so, so their layout is not needed.
#pragma once

#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
