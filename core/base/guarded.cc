// The exception is thrown once more, to be caught by its type.  What is thrown while its message is
// made means that memory has run out.
#include "core/base/guarded.h"

#include <exception>
#include <new>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/exit_status.h"

namespace birkhoff {
namespace {

absl::Status Named(const char* what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": there is no more memory"));
  } catch (const std::system_error& error) {  // a thread cannot be had, say
    const bool is_errno = error.code() && (error.code().category() == std::system_category() ||
                                           error.code().category() == std::generic_category());
    return absl::Status(is_errno ? CodeOfErrno(error.code().value()) : absl::StatusCode::kInternal,
                        absl::StrCat(what, ": ", error.what()));
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
