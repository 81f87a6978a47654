// What a gain needs: 1 to 8 streams, matrices that do not overlap, pointers.
#include "kernels/gain.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/mapping.h"

namespace birkhoff {

template <typename T>
absl::Status Validate(const GainArgs<T>& args) {
  constexpr char kOp[] = "gain";
  if (args.streams < 1 || args.streams > kMaxStreams) {
    return RefuseArgument(kOp, absl::StrCat("streams=", args.streams), "1 to 8");
  }
  if (args.tokens < 0) {
    return RefuseArgument(kOp, absl::StrCat("tokens=", args.tokens), "tokens >= 0");
  }
  if (args.stride < args.streams * args.streams) {
    return RefuseArgument(kOp, absl::StrCat("stride=", args.stride),
                          absl::StrCat("at least ", args.streams * args.streams).c_str());
  }
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"matrices", args.matrices}, {"sums", args.sums}});
}

template absl::Status Validate(const GainArgs<float>&);
template absl::Status Validate(const GainArgs<double>&);
template absl::Status Validate(const GainArgs<bf16>&);

}  // namespace birkhoff
