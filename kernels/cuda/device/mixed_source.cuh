// X at a merge once more, and norm_out where it is wanted, with the bits of device/mixed_forward.cuh.
// A warp takes 32 channels of a group of tokens at a time, by way of a small tile in shared memory.
#pragma once

#include "kernels/cuda/device/tensor_mix.cuh"

namespace birkhoff::cuda {

template <int N>
class MixedSource {
 public:
  // shared: of the block, MixedSourceBytes a warp.
  __device__ MixedSource(const MixedSourceArgs& args, unsigned char* shared)
      : args_(args),
        lane_(int(threadIdx.x) % 32),
        warp_(int(threadIdx.x) / 32),
        warps_(int(blockDim.x) / 32),
        first_(int64_t{blockIdx.x} * kGroup),
        tile_(shared + warp_ * MixedSourceBytes(N)),
        y_(tile_ + 16 * kRowBytes) {}

  __device__ void Run() const {
    const int64_t token = first_ + Mix::TokenOf(lane_);
    const bool there = token < args_.tokens;
    const float* h = args_.coefficients_below + (there ? token : 0) * (2 * N + N * N) + N;
    const typename Mix::Weights weights = Mix::WeightsOf(lane_, there ? h : nullptr);
    const int first = warp_ * kWarpChannels, step = warps_ * kWarpChannels;
    Loaded next = Load(first);
    for (int c = first; c < args_.channels; c += step) {
      Fill(next);
      next = Load(c + step);  // comes meanwhile
      WarpBarrier();
      Merge(weights);
      WarpBarrier();
      Store(c);
      if (args_.norm_out != nullptr) WriteNorm(c);
      WarpBarrier();  // the tile is free again
    }
  }

 private:
  using Mix = TensorMix<N>;
  static constexpr int kGroup = Mix::kGroup, kRowBytes = kWarpChannels * 2;
  static constexpr int kPieces = kRowBytes / 16;

  // Octet p of a row: eight rows, two in 128 bytes, do not share a bank.
  __device__ static int At(int row, int p) {
    return row * kRowBytes + ((p ^ (row / 2 % kPieces)) * 16);
  }
  // Of X of a stream and a token of the group.
  __device__ static int RowOf(int stream, int token) { return stream * kGroup + token; }

  // A lane's share of 32 channels: of X, and of y where it has one.  Zeros for what is not there.
  struct Loaded {
    uint4 x[2], y;
  };
  __device__ Loaded Load(int c) const {
    return {{Read(PieceOf(0, c), args_.x_below), Read(PieceOf(1, c), args_.x_below)},
            Read(PieceOfY(c), args_.y)};
  }
  __device__ void Fill(const Loaded& loaded) const {
    const int row = lane_ / kPieces, octet = lane_ % kPieces;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      *reinterpret_cast<uint4*>(tile_ + At(row + 8 * k, octet)) = loaded.x[k];
    }
    if (row < kGroup) *reinterpret_cast<uint4*>(y_ + At(row, octet)) = loaded.y;
  }
  struct Piece {
    int row, octet;
    bool there;
    int64_t at;  // its place in memory
  };
  // Of X, two a lane.
  __device__ Piece PieceOf(int k, int c) const {
    const int row = lane_ / kPieces + 8 * k, octet = lane_ % kPieces, stream = row / kGroup;
    const int64_t token = first_ + row % kGroup;
    const bool there = stream < N && token < args_.tokens && c + 8 * octet < args_.channels;
    return {row, octet, there, there ? (token * N + stream) * args_.channels + c + 8 * octet : 0};
  }
  __device__ Piece PieceOfY(int c) const {
    const int row = lane_ / kPieces, octet = lane_ % kPieces;
    const bool there =
        row < kGroup && first_ + row < args_.tokens && c + 8 * octet < args_.channels;
    return {row, octet, there, there ? (first_ + row) * args_.channels + c + 8 * octet : 0};
  }
  __device__ static uint4 Read(const Piece& piece, const bf16* from) {
    if (!piece.there) return {0, 0, 0, 0};
    return *reinterpret_cast<const uint4*>(from + piece.at);
  }

  __device__ void Merge(const typename Mix::Weights& weights) const {
    const typename Mix::Row row = Mix::RowOf(lane_), row_of_y = Mix::RowOfY(lane_);
    uint32_t below[2][4], y[4], x[2][4];
    SharedAt at[2];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      at[m] = SharedAddress(tile_) + At(RowOf(row.stream, row.token), 2 * m + row.octet);
      LoadTransposed(below[m], at[m]);
    }
    LoadTransposed(y, SharedAddress(y_) + At(row_of_y.token, row_of_y.octet));
    Mix::Merge(weights, below, y, x);
#pragma unroll
    for (int m = 0; m < 2; ++m) StoreMatrices(at[m], x[m]);
  }

  __device__ void Store(int c) const {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const Piece piece = PieceOf(k, c);
      if (!piece.there) continue;
      Store16(args_.x + piece.at,
              *reinterpret_cast<const uint4*>(tile_ + At(piece.row, piece.octet)));
    }
  }

  // A lane has kGroup channels of a token.
  __device__ void WriteNorm(int c) const {
    constexpr int kLanes = kWarpChannels / kGroup;  // of a token
    const int own = lane_ / kLanes, channel = lane_ % kLanes * kGroup;
    const int64_t token = first_ + own;
    if (token >= args_.tokens || c + channel >= args_.channels) return;
    float weight[N];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      weight[j] = args_.coefficients == nullptr ? args_.weight
                                                : args_.coefficients[token * (2 * N + N * N) + j];
    }
    const float inverse = args_.norm_inv_rms[token];
#pragma unroll
    for (int k = 0; k < kGroup; k += 4) {
      uint2 x[N];
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const int at = At(RowOf(j, own), channel / 8) + (channel % 8 + k) * 2;
        x[j] = *reinterpret_cast<const uint2*>(tile_ + at);
      }
      uint32_t low[N], high[N];
#pragma unroll
      for (int j = 0; j < N; ++j) low[j] = x[j].x, high[j] = x[j].y;
      const float* gamma = args_.gamma + c + channel + k;
      const uint2 out = {Mix::NormOf(low, weight, inverse, {gamma[0], gamma[1]}),
                         Mix::NormOf(high, weight, inverse, {gamma[2], gamma[3]})};
      *reinterpret_cast<uint2*>(args_.norm_out + token * args_.channels + c + channel + k) = out;
    }
  }

  const MixedSourceArgs& args_;
  const int lane_, warp_, warps_;
  const int64_t first_;  // of the group's tokens
  unsigned char* const tile_;
  unsigned char* const y_;
};

}  // namespace birkhoff::cuda
