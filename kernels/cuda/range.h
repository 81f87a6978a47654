// Named ranges for Nsight Systems: header-only NVTX, which costs a branch where no profiler listens.
// Toolkits from Python wheels come without it; then there are no names.
#pragma once

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#endif

namespace birkhoff::cuda {

#ifdef NVTX_VERSION
inline void PushRange(const char* name) { nvtxRangePushA(name); }
inline void PopRange() { nvtxRangePop(); }
#else
inline void PushRange(const char*) {}
inline void PopRange() {}
#endif

}  // namespace birkhoff::cuda
