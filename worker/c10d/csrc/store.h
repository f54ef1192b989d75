// A c10d::Store whose answers come from Rust.
#pragma once

#include "shim.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

struct tandem::StoreHandle {
  c10::intrusive_ptr<c10d::Store> store;
};
