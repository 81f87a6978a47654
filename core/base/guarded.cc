#include "core/base/guarded.h"

#include <exception>
#include <new>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

absl::Status Named(const char* what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": there is no more memory"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(what, ": ", error.what()));
  } catch (...) {
    return absl::InternalError(absl::StrCat(what, ": an unknown exception"));
  }
}

}  // namespace

absl::Status StatusOfException(const char* what) noexcept {
  try {
    return Named(what);
  } catch (...) {
    return absl::Status(absl::StatusCode::kResourceExhausted, "");
  }
}

}  // namespace birkhoff
