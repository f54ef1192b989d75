// What is called of gloo::Context. Both members are not virtual and libtorch_cpu.so exports them; the objects are made
// and destroyed inside libtorch_cpu.so, so their layout is not needed.
#pragma once

#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
  void closeConnections();
};
}  // namespace gloo
