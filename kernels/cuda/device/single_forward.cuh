// The forward boundary in one pass over memory, 10 units of C at a merge of n = 4, where
// device/mixed_forward.cuh does not make it (boundary_config.h).  A group of warps owns a slice of the
// channels of a tile of 16 tokens, which a lane keeps in registers from the merge to norm_out; what
// crosses channels goes through shared memory, then to the block of the cluster that owns the token,
// and comes back as n + 1 numbers a token.
//
//   wait for the tile, start loading the next one
//   X = H_res x + H_post y, rounded, stored          fp32, in the order of device/mix.cuh
//   X phi and the Gram matrix of the streams         tensor cores (fp16, bf16), fp32 sums
//   sums of the warps, to the token's owner          in order of warps
//   the owner: 1 / r, logits, H_pre, 1 / rms of u    in order of blocks; u . u = H_pre G H_pre
//   norm_out = gamma u / rms                         fp32, in the order of device/mix.cuh
//
// phi is rounded to fp16 under a power of two of the block's own (11 significant bits, as tf32); X
// is exact in fp16 up to 65504.  Products with a larger one are not finite, and the warp makes them
// once more under a power of two of the token's own.
#pragma once

#include "kernels/cuda/device/forward_block.cuh"
#include "kernels/cuda/device/forward_service.cuh"
#include "kernels/cuda/device/tile_lane.cuh"

namespace birkhoff::cuda {

// N streams, kTiles of 8 columns; kPerRow: kHc, theta against every stream.  Fixed: a geometry that
// the compiler knows (FixedGeometry), or AnyGeometry, of the arguments.
template <int N, int kTiles, bool kPerRow, bool kMerge, typename Fixed = AnyGeometry<kUsualWarps>>
class SingleForward : private ForwardBlock<N, kTiles, kPerRow, Fixed>, private TileLane {
 public:
  using Block = ForwardBlock<N, kTiles, kPerRow, Fixed>;

  __device__ SingleForward(const SingleForwardArgs& args, unsigned char* shared)
      : SingleForward(Block(args, shared)) {}

  __device__ void Run() {
    const int service = warp_ - geometry_.warps;
    if (service < 0) {
      for (int turn = 0; turn < geometry_.stages; ++turn) {
        if (turn < tiles_.Turns()) Prefetch(turn);
        CopyCommit();
      }
    } else if (service == 0 && Lane() == 0) {
      Barriers().Init(geometry_.warps);
    }
    LoadPhi();
    const int width = geometry_.warps * kWarpChannels;
    LoadGamma(args_.gamma, args_.channels, rank_ * width, width, Gamma());
    __syncthreads();
    ClusterBarrier();
    if (service < 0) {
      WorkAll();
    } else if (service == 0) {
      ForwardGatherer<Block, kMerge>(args_, shared_).Run(ForwardPrefix<Block>(args_, shared_));
    } else {
      ForwardFinisher<Block>(args_, shared_).Run();
    }
    ClusterBarrier();  // nobody leaves while others may send to it
  }

 private:
  __device__ explicit SingleForward(const Block& block)
      : Block(block), TileLane(rank_, geometry_.warps, args_.channels) {}

  using Block::args_;
  using Block::Barriers;
  using Block::Coefficients;
  using Block::Gamma;
  using Block::geometry_;
  using Block::InverseScale;
  using Block::kRows;
  using Block::kTile;
  using Block::Lane;
  using Block::Parts;
  using Block::Phi;
  using Block::rank_;
  using Block::Scales;
  using Block::shared_;
  using Block::sizes_;
  using Block::Stage;
  using Block::tiles_;
  // The same thread, as the compiler does not know it yet (TileLane).
  __device__ SingleForward Anew() const { return SingleForward(static_cast<const Block&>(*this)); }
  static constexpr int kPhiRows = kPerRow ? 1 : N;  // streams with columns of their own

  // A lane's numbers: tokens g, g + 8; streams; channels 2q, 2q + 1 of its 8.
  using Lanes = uint32_t[2][N][4];

  __device__ unsigned char* Slot(int turn, int row, int half) const {
    return Stage(turn) + ((row * 2 + half) * sizes_.threads + thread_) * 16;
  }

  __device__ void Prefetch(int turn) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_ + 8 * half;
      const bool there = inside_ && token < args_.tokens;
      const int64_t row = there ? token * args_.channels : 0;
      const int channel = there ? channel_ : 0;
      const bf16* x = (kMerge ? args_.x_below : args_.x) + row * N + channel;
#pragma unroll
      for (int j = 0; j < N; ++j) CopyAsync16(Slot(turn, j, half), x + j * args_.channels, there);
      if constexpr (kMerge) CopyAsync16(Slot(turn, N, half), args_.y + row + channel, there);
    }
  }

  // phi as the tensor cores' operand b: lane 4g + t of tile z has columns 8z + g, and channels of
  // the lane's own 8 in the order in which Project pairs them.
  __device__ void LoadPhi() {
    if constexpr (kTiles > 0) {
      const int width = geometry_.warps * kWarpChannels, first = rank_ * width;
      const int there = args_.channels - first < width ? args_.channels - first : width;
      const float scale = BlockScale(LargestPhi(first, there), reinterpret_cast<float*>(shared_));
      if (threadIdx.x == 0) *InverseScale() = 1.0f / scale;
      uint2* words = Phi();
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
          at[k] = wanted ? Block::PhiOf(args_, j, c + k, column) * scale : 0.0f;
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
  // norm_out of a tile is written a turn later: its scales come while the next tile is merged.
  __device__ void WorkAll() const {
    const int turns = tiles_.Turns();
    Lanes before;
#pragma unroll 1
    for (int turn = 0; turn < turns; ++turn) {
      WaitForTile();
      MBarrierWait(Barriers().CoefficientsCome(turn), turn / 2 % 2);
      Lanes x;
      Anew().TakeTile(turn, x);
      if (turn + geometry_.stages < turns) Anew().Prefetch(turn + geometry_.stages);
      CopyCommit();
      if (turn > 0) MBarrierWait(Barriers().PartsFree(), (turn - 1) % 2);
      Anew().Project(x);
      WarpArrive(Barriers().PartsFull());
      if (turn > 0) Anew().WriteNorm(turn - 1, before);
      Move(x, before);
    }
    if (turns > 0) Anew().WriteNorm(turns - 1, before);
  }
  __device__ static void Move(const Lanes& from, Lanes& to) {
#pragma unroll
    for (int i = 0; i < 2 * N * 4; ++i) {
      to[i / 4 / N][i / 4 % N][i % 4] = from[i / 4 / N][i / 4 % N][i % 4];
    }
  }
  // A lane reads what it has copied itself.
  __device__ void WaitForTile() const {
    if (geometry_.stages == 2) {
      CopyWait<1>();
    } else {
      CopyWait<0>();
    }
  }

  // X of the tile, in registers and, where it was merged, in memory.
  __device__ void TakeTile(int turn, Lanes& x) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      KeepOrder();
#pragma unroll
      for (int j = 0; j < N; ++j) Unpack(Slot(turn, j, half), x[half][j]);
      if constexpr (kMerge) {
        uint32_t y[4];
        Unpack(Slot(turn, N, half), y);
        MergeToken(Coefficients(turn) + (g_ + 8 * half) * sizes_.coefficient_pitch, y, x[half]);
        const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_ + 8 * half;
        if (inside_ && token < args_.tokens) {
          bf16* to = args_.x + token * N * args_.channels + channel_;
#pragma unroll
          for (int j = 0; j < N; ++j) {
            Store16(to + j * args_.channels,
                    {x[half][j][0], x[half][j][1], x[half][j][2], x[half][j][3]});
          }
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
        const float4 four = *reinterpret_cast<const float4*>(row + k);
        h[k] = four.x, h[k + 1] = four.y, h[k + 2] = four.z, h[k + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int k = 0; k < N + N * N; ++k) h[k] = row[k];
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
  __device__ void Project(const Lanes& x) const {
    float* part = Parts() + warp_ * kTile * sizes_.sum_pitch;
    if constexpr (kTiles > 0) {
      Products products = {};
      MultiplyPhi(x, AsItIs(), products);
      const float factor = *InverseScale();
      float* at = part + g_ * sizes_.sum_pitch + 2 * t_;
      StoreProducts(products, {{factor, factor}}, at);
      if (AnyLane(!AreFinite(products))) Anew().ProjectLarge(x, at);
    }
    GramSums(x, part);
  }
  // Again, of a tile with numbers beyond fp16.  Rare.
  __device__ void ProjectLarge(const Lanes& x, float* at) const {
    ByToken scales, factors;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = 0.0f;
#pragma unroll
      for (int i = 0; i < 4 * N; ++i) {
        const uint32_t word = x[half][i / 4][i % 4];
        largest = fmaxf(largest, fmaxf(fabsf(LowBf16(word)), fabsf(HighBf16(word))));
      }
      largest = fmaxf(largest, ShuffleXor(largest, 1));  // the token's lanes
      largest = fmaxf(largest, ShuffleXor(largest, 2));
      scales.of[half] = largest < 0x1p16f ? 1.0f : PowerBelow(largest, 10);  // 1: the same bits
      factors.of[half] = *InverseScale() * InversePower(scales.of[half]);
    }
    Products products = {};
    MultiplyPhi(x, scales, products);
    StoreProducts(products, factors, at);
  }

  using Products = float[kRows][kTiles > 0 ? kTiles : 1][4];
  // Of tokens g and g + 8.
  struct ByToken {
    float of[2];
    __device__ float operator()(float value, int half) const { return value * of[half]; }
  };
  struct AsItIs {
    __device__ float operator()(float value, int) const { return value; }
  };

  template <typename Scale>
  __device__ void MultiplyPhi(const Lanes& x, const Scale& scale, Products& products) const {
    const uint2* phi = Phi() + warp_ * kPhiRows * kTiles * 64 + Lane();
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int j = 0; j < N; ++j) {
        uint32_t a[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const uint32_t word = x[k % 2][j][2 * m + k / 2];
          a[k] = PackF16(scale(LowBf16Anew(word), k % 2), scale(HighBf16Anew(word), k % 2));
        }
#pragma unroll
        for (int z = 0; z < kTiles; ++z) {
          const uint2 b = phi[(((kPerRow ? 0 : j) * kTiles + z) * 2 + m) * 32];
          MmaF16(products[kPerRow ? j : 0][z], a, b.x, b.y);
        }
      }
    }
  }
  __device__ static bool AreFinite(const Products& products) {
    float zero = 0.0f;
#pragma unroll
    for (int i = 0; i < kRows * kTiles * 4; ++i) {
      zero = fmaf(0.0f, products[i / 4 / kTiles][i / 4 % kTiles][i % 4], zero);
    }
    return zero == 0.0f;
  }
  __device__ void StoreProducts(const Products& products, const ByToken& factors, float* at) const {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
#pragma unroll
      for (int z = 0; z < kTiles; ++z) {
        const float(&d)[4] = products[row][z];
        float* to = at + (row * kTiles + z) * 8;
        *reinterpret_cast<float2*>(to) = {factors(d[0], 0), factors(d[1], 0)};
        *reinterpret_cast<float2*>(to + 8 * sizes_.sum_pitch) = {factors(d[2], 1),
                                                                 factors(d[3], 1)};
      }
    }
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

  // In the order of device/mix.cuh's Read and Scale: a recompute makes the same bits.
  __device__ void WriteNorm(int turn, const Lanes& x) const {
    MBarrierWait(Barriers().ReturnsCome(turn), turn / 2 % 2);
    if (!inside_) return;
    const float2* gammas =
        reinterpret_cast<const float2*>(Gamma() + warp_ * kWarpChannels + 8 * t_);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_ + 8 * half;
      if (token >= args_.tokens) continue;
      const float* scale = Scales(turn) + (g_ + 8 * half) * sizes_.scale_pitch;
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
        const float2 gamma = gammas[q];
        out[q] = PackBf16(__fmul_rn(__fmul_rn(low, inverse), gamma.x),
                          __fmul_rn(__fmul_rn(high, inverse), gamma.y));
      }
      Store16(args_.norm_out + token * args_.channels + channel_, {out[0], out[1], out[2], out[3]});
    }
  }
};

}  // namespace birkhoff::cuda
