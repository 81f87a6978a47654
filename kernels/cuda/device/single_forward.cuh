// The forward boundary in one pass over memory: 10 units of C at a merge of n = 4.  A group of
// warps owns a slice of the channels of a tile of 16 tokens, which a lane keeps in registers from
// the merge to norm_out; what crosses channels goes through shared memory, then to the block of the
// cluster that owns the token, and comes back as n + 1 numbers a token.
//
//   wait for the tile, start loading the next one
//   X = H_res x + H_post y, rounded, stored          fp32, in the order of device/mix.cuh
//   X phi and the Gram matrix of the streams         tensor cores (fp16, bf16), fp32 sums
//   sums of the warps, to the token's owner          in order of warps
//   the owner: 1 / r, logits, H_pre, 1 / rms of u    in order of blocks; u . u = H_pre G H_pre
//   norm_out = gamma u / rms                         fp32, in the order of device/mix.cuh
//
// phi is rounded to fp16 under a power of two of the block's own (11 significant bits, as tf32); X
// is exact in fp16 up to 65504; a warp that meets a larger one works under a power of two.
#pragma once

#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

// N streams, kTiles of 8 columns; kPerRow: kHc, theta against every stream.  Fixed: a geometry that
// the compiler knows (FixedGeometry), which saves registers; or AnyGeometry, of the arguments.
template <int N, int kTiles, bool kPerRow, bool kMerge, typename Fixed = AnyGeometry>
class SingleForward {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, kPerRow};
  static constexpr int kTile = kForwardTileTokens;
  static constexpr int kRows = kPerRow ? N : 1;     // rows of products of a token
  static constexpr int kPhiRows = kPerRow ? 1 : N;  // streams with columns of their own
  static constexpr int kGram = N * (N + 1) / 2;
  static constexpr int kCoefficients = 2 * N + N * N;

  __device__ SingleForward(const SingleForwardArgs& args, unsigned char* shared)
      : args_(args),
        geometry_(Fixed::Of(args.geometry)),
        sizes_(geometry_, kColumns),
        shared_(shared),
        rank_(ClusterRank()),
        group_(int(threadIdx.x) / sizes_.threads),
        thread_(int(threadIdx.x) % sizes_.threads),
        warp_(thread_ / 32),
        g_(int(threadIdx.x) % 32 / 4),
        t_(int(threadIdx.x) % 4),
        channel_((rank_ * geometry_.warps + warp_) * kWarpChannels + 8 * t_),
        inside_(channel_ < args.channels) {}

  __device__ void Run() {
    if (Tile(0) < Tiles()) Prefetch(Tile(0), 0);
    CopyCommit();
    if (thread_ == 0) {
      ByteBarrierInit(Barriers());
      ByteBarrierInit(Barriers() + 1);
      ByteBarriersReady();
    }
    LoadPhi();
    __syncthreads();
    ClusterBarrier();
    for (int turn = 0; Tile(turn) < Tiles(); ++turn) {
      CopyWait<0>();
      NamedBarrier(1 + group_, sizes_.threads);
      RunTile(Tile(turn), Tile(turn + 1), turn % 2);
    }
    ClusterBarrier();  // nobody leaves while others may send to it
  }

 private:
  // A lane's numbers: tokens g, g + 8; streams; channels 2q, 2q + 1 of its 8.
  using Lanes = uint32_t[2][N][4];

  // Tiles go round the groups of all clusters.
  __device__ int Tiles() const { return int((args_.tokens + kTile - 1) / kTile); }
  __device__ int Workers() const { return int(gridDim.x) / geometry_.cluster * geometry_.groups; }
  __device__ int Tile(int turn) const {
    const int first = int(blockIdx.x) / geometry_.cluster * geometry_.groups + group_;
    return first + turn * Workers();
  }

  // The group's parts of shared memory.
  __device__ unsigned char* Stage() const {
    return shared_ + 16 + sizes_.phi + group_ * sizes_.group;
  }
  __device__ float* Parts() const { return reinterpret_cast<float*>(Stage() + sizes_.stage); }
  __device__ float* Coefficients() const { return Parts() + sizes_.parts / 4; }
  __device__ float* Received() const { return Coefficients() + sizes_.coefficients / 4; }
  __device__ float* Scales() const { return Received() + sizes_.received / 4; }
  // The sums have come; the scales have come.
  __device__ uint64_t* Barriers() const {
    return reinterpret_cast<uint64_t*>(Scales() + sizes_.scales / 4);
  }

  __device__ unsigned char* Slot(int row, int half) const {
    return Stage() + ((row * 2 + half) * sizes_.threads + thread_) * 16;
  }

  __device__ void Prefetch(int tile, int slot) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = int64_t{tile} * kTile + g_ + 8 * half;
      const bool there = inside_ && token < args_.tokens;
      const int64_t row = there ? token * args_.channels : 0;
      const int channel = there ? channel_ : 0;
      const bf16* x = (kMerge ? args_.x_below : args_.x) + row * N + channel;
#pragma unroll
      for (int j = 0; j < N; ++j) CopyAsync16(Slot(j, half), x + j * args_.channels, there);
      if constexpr (kMerge) CopyAsync16(Slot(N, half), args_.y + row + channel, there);
    }
    if constexpr (kMerge) PrefetchCoefficients(tile, slot);
  }

  // Of n = 4, whose rows are pieces of 16 bytes, H_post and H_res alone.
  __device__ void PrefetchCoefficients(int tile, int slot) const {
    constexpr int kPiece = N == 4 ? 4 : 1, kFirst = N == 4 ? 4 : 0;
    constexpr int kPieces = (kCoefficients - kFirst) / kPiece;
    float* to = Coefficients() + slot * kTile * sizes_.coefficient_pitch;
#pragma unroll 1
    for (int i = thread_; i < kTile * kPieces; i += sizes_.threads) {
      const int64_t token = int64_t{tile} * kTile + i / kPieces;
      const int k = kFirst + i % kPieces * kPiece;
      float* at = to + i / kPieces * sizes_.coefficient_pitch + k;
      const bool there = token < args_.tokens;
      const float* from = args_.coefficients_below + (there ? token * kCoefficients + k : 0);
      if constexpr (N == 4) {
        CopyAsync16(at, from, there);
      } else if (args_.coefficients_below == nullptr) {
        *at = there ? 1.0f : 0.0f;
      } else {
        CopyAsync4(at, from, there);
      }
    }
  }

  // phi as the tensor cores' operand b: lane 4g + t of tile z has columns 8z + g, and channels of
  // the lane's own 8 in the order in which Project pairs them.
  __device__ void LoadPhi() {
    if constexpr (kTiles > 0) {
      const int width = geometry_.warps * kWarpChannels, first = rank_ * width;
      const int there = args_.channels - first < width ? args_.channels - first : width;
      const float scale = BlockScale(LargestPhi(first, there), reinterpret_cast<float*>(shared_));
      inverse_scale_ = 1.0f / scale;
      uint2* words = reinterpret_cast<uint2*>(shared_ + 16);
      const int count = geometry_.warps * kPhiRows * kTiles * 64;
#pragma unroll 4
      for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) {
        const int lane = i % 32, m = i / 32 % 2, z = i / 64 % kTiles;
        const int j = i / 64 / kTiles % kPhiRows, warp = i / 64 / kTiles / kPhiRows;
        const int column = 8 * z + lane / 4;
        const int c = first + warp * kWarpChannels + 8 * (lane % 4) + 4 * m;
        float at[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const bool wanted = column < args_.columns && c + k < args_.channels;
          at[k] = wanted ? Phi(j, c + k, column) * scale : 0.0f;
        }
        words[i] = {PackF16(at[0], at[1]), PackF16(at[2], at[3])};
      }
    }
  }
  // Of this thread's share of channels first .. first + there - 1: rows of them are contiguous.
  __device__ float LargestPhi(int first, int there) const {
    float largest = 0.0f;
    const int rows = kPerRow ? args_.columns : N, each = kPerRow ? 1 : args_.columns;
    for (int row = 0; row < rows; ++row) {
      const float* from = args_.projection + (int64_t{row} * args_.channels + first) * each;
      largest = fmaxf(largest, LargestOf(from, there * each));
    }
    return largest;
  }
  __device__ float Phi(int j, int c, int column) const {
    const int64_t at = kPerRow ? int64_t{column} * args_.channels + c
                               : (int64_t{j} * args_.channels + c) * args_.columns + column;
    return args_.projection[at];
  }

  __device__ void RunTile(int tile, int next, int parity) {
    Lanes x;
    TakeTile(tile, parity, x);
    if (next < Tiles()) Prefetch(next, parity ^ 1);
    CopyCommit();
    Project(tile, x);
    NamedBarrier(1 + group_, sizes_.threads);
    SendSums();
    if (warp_ == geometry_.warps - 1) FinishTile(args_, shared_, tile, parity);
    if constexpr (kMerge) {
      if (warp_ == 0 && args_.prefix != nullptr) MultiplyPrefix(args_, shared_, tile);
    }
    ByteBarrierWait(Barriers() + 1, parity);
    WriteNorm(tile, x);
  }
  __device__ int OwnedHere() const { return rank_ * sizes_.owned < kTile ? sizes_.owned : 0; }

  // X of the tile, in registers and, where it was merged, in memory.
  __device__ void TakeTile(int tile, int parity, Lanes& x) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      KeepOrder();
#pragma unroll
      for (int j = 0; j < N; ++j) Unpack(Slot(j, half), x[half][j]);
      if constexpr (kMerge) {
        uint32_t y[4];
        Unpack(Slot(N, half), y);
        const float* row =
            Coefficients() + (parity * kTile + g_ + 8 * half) * sizes_.coefficient_pitch;
        MergeToken(row, y, x[half]);
        const int64_t token = int64_t{tile} * kTile + g_ + 8 * half;
        if (!inside_ || token >= args_.tokens) continue;
        bf16* to = args_.x + token * N * args_.channels + channel_;
#pragma unroll
        for (int j = 0; j < N; ++j) {
          Store16(to + j * args_.channels,
                  {x[half][j][0], x[half][j][1], x[half][j][2], x[half][j][3]});
        }
      }
    }
  }
  __device__ static void Unpack(const unsigned char* slot, uint32_t (&words)[4]) {
    const uint4 all = *reinterpret_cast<const uint4*>(slot);
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
  }

  // In the order of device/mix.cuh's Merge: the same bits as the streaming kernels.
  __device__ static void MergeToken(const float* row, const uint32_t (&y)[4], uint32_t (&x)[N][4]) {
    float h[N + N * N];
    if constexpr (N == 4) {
#pragma unroll
      for (int k = 0; k < N + N * N; k += 4) {
        const float4 four = *reinterpret_cast<const float4*>(row + N + k);
        h[k] = four.x, h[k + 1] = four.y, h[k + 2] = four.z, h[k + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int k = 0; k < N + N * N; ++k) h[k] = row[N + k];
    }
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      uint32_t out[N];
#pragma unroll
      for (int i = 0; i < N; ++i) {
        float low = __fmul_rn(h[i], LowBf16(y[q])), high = __fmul_rn(h[i], HighBf16(y[q]));
#pragma unroll
        for (int j = 0; j < N; ++j) {
          low = fmaf(h[N + i * N + j], LowBf16(x[j][q]), low);
          high = fmaf(h[N + i * N + j], HighBf16(x[j][q]), high);
        }
        out[i] = PackBf16(low, high);
      }
#pragma unroll
      for (int i = 0; i < N; ++i) x[i][q] = out[i];
    }
  }

  // This warp's products with phi and Gram matrices, into its own of Parts().
  __device__ void Project(int tile, const Lanes& x) const {
    float* part = Parts() + warp_ * kTile * sizes_.sum_pitch;
    if constexpr (kTiles > 0) {
      float products[kRows][kTiles][4] = {};
      const uint2* phi = reinterpret_cast<const uint2*>(shared_ + 16) +
                         warp_ * kPhiRows * kTiles * 64 + int(threadIdx.x) % 32;
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int j = 0; j < N; ++j) {
          uint32_t a[4];
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const uint32_t word = x[k % 2][j][2 * m + k / 2];
            a[k] = PackF16(LowBf16Anew(word), HighBf16Anew(word));
          }
#pragma unroll
          for (int z = 0; z < kTiles; ++z) {
            const uint2 b = phi[(((kPerRow ? 0 : j) * kTiles + z) * 2 + m) * 32];
            MmaF16(products[kPerRow ? j : 0][z], a, b.x, b.y);
          }
        }
      }
      float* at = part + g_ * sizes_.sum_pitch + 2 * t_;
      if (AnyLane(!Finite(products))) {
        // A number beyond 65504, or one that is not finite.
        ProjectScaled(args_, phi, int64_t{tile} * kTile + g_, channel_, inverse_scale_, at,
                      sizes_.sum_pitch);
      } else {
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
#pragma unroll
          for (int z = 0; z < kTiles; ++z) {
            StoreProducts(products[row][z], inverse_scale_, at + (row * kTiles + z) * 8,
                          sizes_.sum_pitch);
          }
        }
      }
    }
    GramSums(x, part);
  }
  __device__ static void StoreProducts(const float (&d)[4], float factor, float* at, int pitch) {
    *reinterpret_cast<float2*>(at) = {d[0] * factor, d[1] * factor};
    *reinterpret_cast<float2*>(at + 8 * pitch) = {d[2] * factor, d[3] * factor};
  }

  // The products once more, of X as it was stored, under a power of two that brings the warp's
  // largest number below 2^15.  Rare: it need not be fast, and must not cost the others registers.
  __device__ __noinline__ static void ProjectScaled(const SingleForwardArgs& args, const uint2* phi,
                                                    int64_t token, int channel, float inverse_scale,
                                                    float* at, int pitch) {
    // The lane's part of X, and the warp's largest number.
    uint32_t x[2][N][4] = {};
    float largest = 0.0f;
    for (int i = 0; i < 2 * N * 4; ++i) {
      const int half = i / 4 / N, j = i / 4 % N;
      if (channel >= args.channels || token + 8 * half >= args.tokens) continue;
      const bf16* from = args.x + ((token + 8 * half) * N + j) * args.channels + channel;
      const uint32_t word = reinterpret_cast<const uint32_t*>(from)[i % 4];
      x[half][j][i % 4] = word;
      largest = fmaxf(largest, fmaxf(fabsf(LowBf16(word)), fabsf(HighBf16(word))));
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      largest = fmaxf(largest, ShuffleXor(largest, lanes));
    }
    // One product at a time, scaled, and scaled back.
    const float scale = PowerBelow(largest, 14);
    for (int row = 0; row < kRows; ++row) {
      for (int z = 0; z < kTiles; ++z) {
        float products[4] = {};
        for (int m = 0; m < 2; ++m) {
          for (int j = kPerRow ? row : 0; j < (kPerRow ? row + 1 : N); ++j) {
            uint32_t a[4];
            for (int k = 0; k < 4; ++k) {
              const uint32_t word = x[k % 2][j][2 * m + k / 2];
              a[k] = PackF16(LowBf16(word) * scale, HighBf16(word) * scale);
            }
            const uint2 b = phi[(((kPerRow ? 0 : j) * kTiles + z) * 2 + m) * 32];
            MmaF16(products, a, b.x, b.y);
          }
        }
        StoreProducts(products, inverse_scale / scale, at + (row * kTiles + z) * 8, pitch);
      }
    }
  }
  __device__ static bool Finite(const float (&products)[kRows][kTiles][4]) {
    float zero = 0.0f;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int z = 0; z < kTiles; ++z) {
#pragma unroll
        for (int k = 0; k < 4; ++k) zero = fmaf(0.0f, products[row][z][k], zero);
      }
    }
    return zero == 0.0f;
  }
  // x_i . x_j of tokens g and g + 8: the diagonals of products of tokens with tokens.
  __device__ void GramSums(const Lanes& x, float* part) const {
    const bool mine = t_ == g_ / 2, odd = g_ % 2 != 0;
    float* to = part + g_ * sizes_.sum_pitch + sizes_.products;
#pragma unroll
    for (int i = 0, k = 0; i < N; ++i) {
      uint32_t rows[2][4];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int r = 0; r < 4; ++r) rows[m][r] = Placed(x[r % 2][i][2 * m + r / 2], args_.zero);
      }
#pragma unroll
      for (int j = i; j < N; ++j, ++k) {
        float upper[4] = {}, lower[4] = {};
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          MmaBf16(upper, rows[m], x[0][j][2 * m], x[0][j][2 * m + 1]);
          MmaBf16(lower, rows[m], x[1][j][2 * m], x[1][j][2 * m + 1]);
        }
        StoreIf(mine, to + k, odd ? upper[1] : upper[0]);
        StoreIf(mine, to + k + 8 * sizes_.sum_pitch, odd ? lower[3] : lower[2]);
      }
    }
  }

  // The warps' sums added up, each token's to the block that owns it.
  __device__ void SendSums() const {
    const int pairs = sizes_.sums / 2, warps = geometry_.warps;
    const int stride = kTile * sizes_.sum_pitch;
#pragma unroll 1
    for (int i = thread_; i < kTile * pairs; i += sizes_.threads) {
      const int token = i / pairs, pair = i % pairs;
      const float* from = Parts() + token * sizes_.sum_pitch + 2 * pair;
      float2 sum = *reinterpret_cast<const float2*>(from);
#pragma unroll 4
      for (int w = 1; w < warps; ++w) {
        const float2 more = *reinterpret_cast<const float2*>(from + w * stride);
        sum.x += more.x, sum.y += more.y;
      }
      float* to =
          Received() + (rank_ * sizes_.owned + token % sizes_.owned) * sizes_.sums + 2 * pair;
      Send8(to, token / sizes_.owned, sum.x, sum.y, Barriers());
    }
  }

  // The last warp of a group: what stands between the sums of this block's tokens and norm_out, to
  // all blocks.  A call, so that the other warps need not hold registers for it.
  __device__ __noinline__ static void FinishTile(const SingleForwardArgs& args,
                                                 unsigned char* shared, int tile, int parity) {
    SingleForward(args, shared).Finish(tile, parity);
  }
  // Half a warp a token: lanes share its columns, then each makes all that it needs.
  static constexpr int kShare = 16;
  __device__ void Finish(int tile, int parity) const {
    const int lane = int(threadIdx.x) % kShare, cluster = geometry_.cluster;
    uint64_t* barriers = Barriers();
    // How many bytes each barrier waits for.
    if (threadIdx.x % 32 == 0) {
      ByteBarrierExpect(barriers, cluster * OwnedHere() * sizes_.sums * 4);
      ByteBarrierExpect(barriers + 1, kTile * sizes_.scale_pitch * 4);
    }
    ByteBarrierWait(barriers, parity);
    for (int first = 0; first < OwnedHere(); first += 2) {
      const int own = first + int(threadIdx.x) % 32 / kShare;
      const bool here = own < OwnedHere();
      float* row = Received() + (here ? own : first) * sizes_.sums;
      // The sums of all blocks, in their order.
      for (int k = lane; here && k < sizes_.products + kGram; k += kShare) {
        float sum = row[k];
        for (int from = 1; from < cluster; ++from) {
          sum += row[from * sizes_.owned * sizes_.sums + k];
        }
        row[k] = sum;
      }
      WarpBarrier();
      // What the token makes of them, kept; and to all blocks.
      const int local = rank_ * sizes_.owned + own;
      const int64_t token = int64_t{tile} * kTile + local;
      const bool kept = here && token < args_.tokens;
      float weight[N];
      FinishProducts(row, token, kept, weight);
      const float inverse = InverseRms(row + sizes_.products, weight);
      if (lane == 0 && kept) args_.norm_inv_rms[token] = inverse;
      float out[8] = {};
#pragma unroll
      for (int j = 0; j < N; ++j) out[j] = weight[j];
      out[N] = inverse;
      float* to = Scales() + local * sizes_.scale_pitch;
      for (int peer = lane; here && peer < cluster; peer += kShare) {
#pragma unroll
        for (int k = 0; k < (N + 4) / 4 * 4; k += 4) {
          Send16(to + k, peer,
                 {FloatBits(out[k]), FloatBits(out[k + 1]), FloatBits(out[k + 2]),
                  FloatBits(out[k + 3])},
                 barriers + 1);
        }
      }
    }
    WarpBarrier();
  }

  // Products and sums of squares -> logits, stored, and the weights of the streams in u.
  __device__ void FinishProducts(const float* row, int64_t token, bool there,
                                 float (&weight)[N]) const {
    const int lane = int(threadIdx.x) % kShare;
    const float* gram = row + sizes_.products;
    if constexpr (kTiles == 0) {
#pragma unroll
      for (int j = 0; j < N; ++j) weight[j] = 1.0f;
    } else if constexpr (kPerRow) {
      float* out = args_.logits + token * N * (N + 3);
#pragma unroll
      for (int j = 0, k = 0; j < N; k += N - j, ++j) {
        const float inverse = Inverse(gram[k] / float(args_.channels));
        if (there && lane <= N + 2) {
          out[j * (N + 3) + lane] = lane == N + 2 ? inverse : row[j * kTiles * 8 + lane] * inverse;
        }
        weight[j] = HcGate(args_.alpha[0], row[j * kTiles * 8] * inverse, args_.bias[j]);
      }
    } else {
      float squares = 0.0f;
#pragma unroll
      for (int j = 0, k = 0; j < N; k += N - j, ++j) squares += gram[k];
      const float inverse = Inverse(squares / float(N * args_.channels));
      float* out = args_.logits + token * (args_.columns + 1);
      for (int k = lane; there && k <= args_.columns; k += kShare) {
        out[k] = k == args_.columns ? inverse : row[k] * inverse;
      }
#pragma unroll
      for (int j = 0; j < N; ++j) {
        weight[j] = MhcPre(args_.alpha[0], row[j] * inverse, args_.bias[j]);
      }
    }
  }
  __device__ float Inverse(float mean) const { return 1.0f / sqrtf(mean + args_.mix_eps); }
  __device__ float InverseRms(const float* gram, const float (&weight)[N]) const {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0, k = 0; i < N; ++i) {
#pragma unroll
      for (int j = i; j < N; ++j, ++k) {
        sum = fmaf((i == j ? 1.0f : 2.0f) * weight[i] * weight[j], gram[k], sum);
      }
    }
    // A NaN stays; what cancels below zero is zero.
    const float mean = sum < 0.0f ? 0.0f : sum / float(args_.channels);
    return 1.0f / sqrtf(mean + args_.norm_eps);
  }

  // P of this block's tokens: a lane an entry of a few tokens, in double, all read before any is
  // written.  A call, for the sake of registers, by a warp that would wait.
  __device__ __noinline__ static void MultiplyPrefix(const SingleForwardArgs& args,
                                                     unsigned char* shared, int tile) {
    const SingleForward self(args, shared);
    constexpr int kEntries = N * N, kTokens = 32 / kEntries;
    const int lane = int(threadIdx.x) % 32;
    for (int first = 0; first < self.OwnedHere(); first += kTokens) {
      const int own = first + lane / kEntries, entry = lane % kEntries;
      const int64_t token = int64_t{tile} * kTile + self.rank_ * self.sizes_.owned + own;
      const bool mine = lane < kTokens * kEntries && own < self.OwnedHere() && token < args.tokens;
      double sum = 0.0;
      if (mine) {
        const float* below = args.prefix_below + token * kEntries + entry % N;
#pragma unroll
        for (int m = 0; m < N; ++m) {
          float h = 1.0f;
          if (args.coefficients_below != nullptr) {
            h = args.coefficients_below[token * kCoefficients + 2 * N + entry / N * N + m];
          }
          sum = fma(double(h), double(below[m * N]), sum);
        }
      }
      WarpBarrier();
      if (mine) args.prefix[token * kEntries + entry] = float(sum);
    }
  }

  // In the order of device/mix.cuh's Read and Scale: a recompute makes the same bits.
  __device__ void WriteNorm(int tile, const Lanes& x) const {
    if (!inside_) return;
    float gamma[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) gamma[k] = args_.gamma[channel_ + k];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = int64_t{tile} * kTile + g_ + 8 * half;
      if (token >= args_.tokens) continue;
      const float* scale = Scales() + (g_ + 8 * half) * sizes_.scale_pitch;
      float weight[N];
#pragma unroll
      for (int j = 0; j < N; ++j) weight[j] = scale[j];
      const float inverse = scale[N];
      uint32_t out[4];
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        float low = 0.0f, high = 0.0f;
#pragma unroll
        for (int j = 0; j < N; ++j) {
          low = fmaf(weight[j], LowBf16(x[half][j][q]), low);
          high = fmaf(weight[j], HighBf16(x[half][j][q]), high);
        }
        out[q] = PackBf16(__fmul_rn(__fmul_rn(low, inverse), gamma[2 * q]),
                          __fmul_rn(__fmul_rn(high, inverse), gamma[2 * q + 1]));
      }
      Store16(args_.norm_out + token * args_.channels + channel_, {out[0], out[1], out[2], out[3]});
    }
  }

  const SingleForwardArgs& args_;
  const SinglePassGeometry geometry_;
  const ForwardSizes sizes_;
  unsigned char* const shared_;
  const int rank_, group_, thread_, warp_, g_, t_, channel_;
  const bool inside_;
  float inverse_scale_ = 1.0f;
};

}  // namespace birkhoff::cuda
