// Exceptions into status codes.
#include "shim.h"

#include <c10/util/Exception.h>
#include <cxxabi.h>
#include <torch/csrc/distributed/c10d/exception.h>

#include <cstdlib>
#include <string>
#include <typeinfo>

namespace tandem {
namespace {

thread_local std::string last_error;

std::string type_name(const std::exception& error) {
  int status = 0;
  char* name = abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status);
  std::string text = name != nullptr ? name : typeid(error).name();
  std::free(name);
  return text;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// A peer that is not reached when the group meets is an error of libtorch without a type of its own.
int classify_meeting() {
  if (!contains(last_error, "connectFullMesh failed")) return OTHER;
  return contains(last_error, "imeout") || contains(last_error, "Timed out") ? TIMEOUT : PEER;
}

// Gloo's exceptions are not in its public ABI, and a timeout arrives as its IoException too, so name and text decide.
int classify_standard(const std::exception& error) {
  last_error = error.what();
  const std::string name = type_name(error);
  if (name == "gloo::TimeoutException") return TIMEOUT;
  if (name == "gloo::IoException") {
    // A pair that was closed because of an earlier timeout says so: that is the timeout once more.
    const bool timed_out = contains(last_error, "Timed out") || contains(last_error, "Application timeout");
    return timed_out ? TIMEOUT : PEER;
  }
  return classify_meeting();
}

}  // namespace

int classify() noexcept {
  try {
    throw;
  } catch (const c10d::TimeoutError& error) {
    last_error = error.what_without_backtrace();
    return TIMEOUT;
  } catch (const c10::DistStoreError& error) {
    last_error = error.what_without_backtrace();
    return STORE;
  } catch (const c10::DistNetworkError& error) {
    last_error = error.what_without_backtrace();
    return PEER;
  } catch (const c10::DistBackendError& error) {
    last_error = error.what_without_backtrace();
    return contains(last_error, "timeout") || contains(last_error, "Timeout") ? TIMEOUT : PEER;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
    return contains(last_error, "CUDA error") ? CUDA : classify_meeting();
  } catch (const std::exception& error) {
    return classify_standard(error);
  } catch (...) {
    last_error = "an exception that is no std::exception";
    return OTHER;
  }
}

}  // namespace tandem

const char* c10d_last_error() { return tandem::last_error.c_str(); }
