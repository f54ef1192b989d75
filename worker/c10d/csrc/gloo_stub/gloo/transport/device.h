// Names only: ProcessGroupGloo.hpp holds these types through pointers, so no layout of Gloo's is relied on.
#pragma once

namespace gloo::transport {
class Device;
class UnboundBuffer;
}  // namespace gloo::transport
