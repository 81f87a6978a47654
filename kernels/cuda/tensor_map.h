// What the copy engine of Hopper is told of an array of rows in bf16, of which kernels move boxes.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/types.h"

namespace birkhoff::cuda {

// A box has so many channels: 128 bytes of a row, in which 16-byte pieces are exchanged as the row
// says (piece p of row r of 8 lies where p ^ r would), so that no eight rows of one piece share a bank.
// Rows are counted by their addresses, in 128 bytes.
inline constexpr int kBoxChannels = 64;

// [tokens, streams, channels], contiguous unless said otherwise, 16-byte aligned; channels a multiple
// of 8.  A box is [streams][box_tokens][kBoxChannels] in shared memory.
struct BoxedRows {
  const bf16* first = nullptr;
  int64_t tokens = 0;  // < 2^31
  int streams = 1;
  int channels = 0;
  int box_tokens = 8;
  // Rows of channels from one stream to the next, and from one token to the next; 0: as contiguous.
  int stream_rows = 1, token_rows = 0;

  int TokenRows() const { return token_rows == 0 ? streams : token_rows; }
};

// CUtensorMap, which only CUDA's headers know; goes to a kernel as a __grid_constant__ argument.
struct alignas(128) TensorMap {
  unsigned char opaque[128];
};

// Of the address as it stands: nothing is read.  Any thread.
absl::StatusOr<TensorMap> TensorMapOf(const BoxedRows& rows);

}  // namespace birkhoff::cuda
