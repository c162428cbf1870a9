// What the files of the shim share. Every function answers with nullptr, or with a message that the caller hands to
// `stagger_free_message`; no exception leaves it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace stagger {

inline char kOutOfMemory[] = "out of memory";
inline char kUnknown[] = "an exception of unknown type";

inline char* message(const char* text) noexcept {
  char* copy = strdup(text);
  return copy != nullptr ? copy : kOutOfMemory;
}

template <typename F>
char* guard(const F& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return message(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return message(error.what());
  } catch (...) {
    return kUnknown;
  }
}

inline std::optional<at::Tensor> optional(const at::Tensor* tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<at::Tensor>(*tensor);
}

// A new handle, or nullptr for a tensor that libtorch left out.
inline at::Tensor* handle(at::Tensor&& tensor) {
  return tensor.defined() ? new at::Tensor(std::move(tensor)) : nullptr;
}

} // namespace stagger
