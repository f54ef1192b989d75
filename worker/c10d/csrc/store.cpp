// A c10d::Store whose answers come from Rust.
#include "store.h"

#include <torch/csrc/distributed/c10d/exception.h>

#include <memory>
#include <string>

namespace tandem {
namespace {

using Bytes = std::vector<uint8_t>;
using std::chrono::milliseconds;

std::vector<const char*> pointers(const std::vector<std::string>& keys) {
  std::vector<const char*> list;
  list.reserve(keys.size());
  for (const auto& key : keys) list.push_back(key.c_str());
  return list;
}

class RustStore final : public c10d::Store {
 public:
  RustStore(std::shared_ptr<StoreCalls> calls, milliseconds timeout) : Store(timeout), calls_(std::move(calls)) {}

  c10::intrusive_ptr<c10d::Store> clone() override { return c10::make_intrusive<RustStore>(calls_, timeout_); }

  void set(const std::string& key, const Bytes& value) override {
    answer("set", [&](void* sink) {
      return calls_->set(calls_->context, key.c_str(), value.data(), value.size(), sink);
    });
  }

  Bytes get(const std::string& key) override {
    return answer("get", [&](void* sink) {
      return calls_->get(calls_->context, key.c_str(), timeout_.count(), sink);
    });
  }

  int64_t add(const std::string& key, int64_t delta) override {
    int64_t sum = 0;
    answer("add", [&](void* sink) { return calls_->add(calls_->context, key.c_str(), delta, &sum, sink); });
    return sum;
  }

  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    return answer("compare_set", [&](void* sink) {
      return calls_->compare_set(calls_->context, key.c_str(), expected.data(), expected.size(), desired.data(),
                                 desired.size(), sink);
    });
  }

  bool check(const std::vector<std::string>& keys) override {
    int present = 0;
    const auto list = pointers(keys);
    answer("check", [&](void* sink) {
      return calls_->check(calls_->context, list.data(), list.size(), &present, sink);
    });
    return present != 0;
  }

  bool deleteKey(const std::string& key) override {
    int existed = 0;
    answer("delete", [&](void* sink) { return calls_->remove(calls_->context, key.c_str(), &existed, sink); });
    return existed != 0;
  }

  int64_t getNumKeys() override { C10_THROW_ERROR(NotImplementedError, "the store does not count its keys"); }

  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }

  void wait(const std::vector<std::string>& keys, const milliseconds& timeout) override {
    const auto list = pointers(keys);
    answer("wait", [&](void* sink) {
      return calls_->wait(calls_->context, list.data(), list.size(), timeout.count(), sink);
    });
  }

 private:
  // Makes one call and returns the bytes it wrote; its error text becomes a DistStoreError.
  template <typename Call>
  static Bytes answer(const char* verb, Call&& call) {
    Bytes sink;
    if (call(&sink) != 0) {
      const std::string text(sink.begin(), sink.end());
      C10D_THROW_ERROR(DistStoreError, "store ", verb, ": ", text);
    }
    return sink;
  }

  std::shared_ptr<StoreCalls> calls_;
};

}  // namespace
}  // namespace tandem

using namespace tandem;

void c10d_sink_write(void* sink, const uint8_t* bytes, size_t length) {
  static_cast<Bytes*>(sink)->assign(bytes, bytes + length);
}

int c10d_store_new(StoreCalls calls, int64_t timeout_ms, StoreHandle** out) {
  return guarded([&] {
    std::shared_ptr<StoreCalls> owned(new StoreCalls(calls), [](StoreCalls* calls) {
      calls->drop(calls->context);
      delete calls;
    });
    *out = new StoreHandle{c10::make_intrusive<RustStore>(std::move(owned), milliseconds(timeout_ms))};
  });
}

void* c10d_store_pointer(StoreHandle* store) { return &store->store; }

void c10d_store_free(StoreHandle* store) { delete store; }
