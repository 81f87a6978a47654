// The forward boundary in one pass over memory, as device/single_forward.cuh makes it, with the merge
// on the tensor cores: of tiles of 16 tokens in boxes of the copy engine (mixed_forward.h).
//
//   the tile has come, and weights of its mix
//   X = H_res x + H_post y, rounded, in place         tensor cores (two bf16), fp32 sums
//   the Gram matrix of the streams                    tensor cores (bf16), of the same registers
//   X by tokens, into registers; the boxes may leave
//   X phi                                             tensor cores (fp16), fp32 sums
//   sums of the warps, to the token's owner           in order of warps
//   the owner: 1 / r, logits, H_pre, 1 / rms of u     in order of blocks; u . u = H_pre G H_pre
//   norm_out = gamma u / rms, a turn later            fp32, in the order of device/mix.cuh
//
// phi is rounded to fp16 under a power of two of the block's own (11 significant bits, as tf32); X is
// exact in fp16 up to 65504; with a larger one in its tile a warp takes X under powers of two of the
// tokens' own.
#pragma once

#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/mixed_block.cuh"
#include "kernels/cuda/device/mixed_service.cuh"

namespace birkhoff::cuda {

// N streams, 2 to 4, kTiles of 8 columns.  kMerge; else X stands in memory already.
template <int N, int kTiles, bool kMerge, typename Fixed = AnyGeometry<kUsualWarps>>
class MixedForward : private MixedBlock<N, kTiles, Fixed> {
 public:
  using Block = MixedBlock<N, kTiles, Fixed>;

  __device__ MixedForward(const MixedForwardArgs& args, unsigned char* shared)
      : MixedForward(Block(args, shared)) {}

  __device__ void Run() {
    // The two on which all wait come first: their schedulers have fewer of the other warps.
    const int service = warp_ - geometry_.warps;
    const MixedBoxes<Block, kMerge> boxes(boxed_, shared_);
    if (service == 2 && Lane() == 0) {
      Barriers().Init(geometry_.warps);
      BoxesReady();
      boxes.Begin();
    }
    LoadPhi();
    LoadGamma(args_.gamma, args_.channels, Block::FirstChannel(), sizes_.threads, Gamma());
    ClearPadding();
    __syncthreads();
    ClusterBarrier();
    if (service < 0) {
      WorkAll();
    } else if (service == 0) {
      MixedGatherer<Block>(boxed_, shared_).Run();
    } else if (service == 1) {
      ForwardFinisher<Block>(boxed_, shared_).Run();
    } else if (service == 2) {
      if (Lane() == 0) boxes.Run();
    } else {
      if constexpr (kMerge) {
        MixedCoefficients<Block>(boxed_, shared_).Run(ForwardPrefix<Block>(boxed_, shared_));
      }
    }
    ClusterBarrier();  // nobody leaves while others may send to it
  }

 private:
  __device__ explicit MixedForward(const Block& block)
      : Block(block),
        thread_(ThreadIndex()),
        lane_(int(unsigned(thread_) % 32)),
        warp_(int(unsigned(thread_) / 32)) {}
  // The same thread, as the compiler does not know it yet: what it makes of that beforehand, for the
  // whole loop, would take registers that tiles need.
  __device__ MixedForward Anew() const { return MixedForward(static_cast<const Block&>(*this)); }

  using Block::args_;
  using Block::At;
  using Block::Barriers;
  using Block::boxed_;
  using Block::Gamma;
  using Block::geometry_;
  using Block::InverseScale;
  using Block::kGroups;
  using Block::kGroupWords;
  using Block::kHalf;
  using Block::kTile;
  using Block::Lane;
  using Block::Norm;
  using Block::Parts;
  using Block::Phi;
  using Block::rank_;
  using Block::RowsAt;
  using Block::Scales;
  using Block::Scratch;
  using Block::shared_;
  using Block::sizes_;
  using Block::Stage;
  using Block::tiles_;
  using Block::Weights;
  using Mix = typename Block::Mix;
  static constexpr int kGroup = Mix::kGroup;

  // A lane's numbers of a tile, as the tensor cores' operand a: 16 channels m of a stream, of tokens
  // g, g + 8, g, g + 8, channels 2t, 2t + 1 and, in the last two, 8 more.
  using Tile = uint32_t[2][N][4];
  // And of a group's Gram matrix: a stream of the first half with one, of the second with the first,
  // of the second with one.
  struct Gram {
    float first, across, second;
  };

  // ---- once

  // phi as operand b: lane 4g + t of eight columns z has column 8z + g, of a stream and 16 channels m
  // those that Tile has in pairs.  [warp][stream][z][lane], of both m.
  // All of a thread's share is read before the scale is known, and once.
  __device__ void LoadPhi() const {
    constexpr int kMostThreads = (kUsualWarps + kMixedServiceWarps) * 32;
    constexpr int kShare = (kUsualWarps * N * kTiles * 32 + kMostThreads - 1) / kMostThreads;
    const int first = rank_ * sizes_.threads, count = geometry_.warps * N * kTiles * 32;
    float share[kShare][8], largest = 0.0f;
#pragma unroll
    for (int n = 0; n < kShare; ++n) {
      const int i = int(threadIdx.x) + n * int(blockDim.x);
      const int lane = i % 32, z = i / 32 % kTiles, j = i / 32 / kTiles % N;
      const int column = i < count ? 8 * z + lane / 4 : args_.columns;
      const int c = first + i / 32 / kTiles / N * kWarpChannels + lane % 4 * 2;
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        share[n][k] = PhiOf(j, c + k / 2 * 8 + k % 2, column);
        largest = fmaxf(largest, fabsf(share[n][k]));
      }
    }
    const float scale = BlockScale(largest, Scratch());
    if (threadIdx.x == 0) *InverseScale() = 1.0f / scale;
#pragma unroll
    for (int n = 0; n < kShare; ++n) {
      const int i = int(threadIdx.x) + n * int(blockDim.x);
      if (i >= count) continue;
      uint32_t words[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        words[k] = PackF16(share[n][2 * k] * scale, share[n][2 * k + 1] * scale);
      }
      Phi()[i] = {words[0], words[1], words[2], words[3]};
    }
  }
  // Zero where there is none.
  __device__ float PhiOf(int j, int c, int column) const {
    if (column >= args_.columns || c >= args_.channels) return 0.0f;
    return args_.projection[(int64_t{j} * args_.channels + c) * args_.columns + column];
  }
  // The fourth of three streams, which no box brings: products with zeros are zeros only of numbers.
  __device__ void ClearPadding() const {
    if constexpr (N == 3) {
#pragma unroll 1
      for (int i = int(threadIdx.x); i < kMixedStages * sizes_.boxes * kRowsBox / 16;
           i += int(blockDim.x)) {
        const int piece = i % (kRowsBox / 16), b = i / (kRowsBox / 16) % sizes_.boxes;
        unsigned char* rows = Stage(i / (kRowsBox / 16) / sizes_.boxes) + RowsAt(N);
        reinterpret_cast<uint4*>(rows + b * 2 * kRowsBox)[piece] = {0, 0, 0, 0};
      }
      BoxesReady();
    }
  }

  // ---- turn by turn

  // norm_out of a tile is written a turn later: its scales come while the next tile is merged.
  __device__ void WorkAll() const {
    Tile even, odd;
#pragma unroll 1
    for (int turn = 0; turn <= tiles_.Turns(); turn += 2) {
      Work<0>(turn, even, odd);
      if (turn < tiles_.Turns()) Work<1>(turn + 1, odd, even);
    }
  }
  // kOdd: the turn's parity, by which the compiler knows all places.  x: the turn's; before: that of
  // the turn before.
  template <int kOdd>
  __device__ void Work(int turn, Tile& x, const Tile& before) const {
    const unsigned pair = unsigned(turn) / 2;
    const MixedForward self = Anew();
    if (turn < tiles_.Turns()) {
      MBarrierWait(Barriers().TileCome(kOdd), pair % 2);
      if constexpr (kMerge) MBarrierWait(Barriers().CoefficientsCome(kOdd), pair % 2);
      Gram gram[kGroups];
      MixTile(kOdd, gram);
      const bool large = AnyLane(!FitsF16(gram));
      WarpBarrier();  // what other lanes have merged lies in the tile
      if (large) {
        if (turn > 0) MBarrierWait(Barriers().PartsFree(), 1 - kOdd);
        Anew().ProjectLarge(kOdd);
      }
      self.TakeTile(kOdd, x);
      BoxesReady();
      WarpArrive(Barriers().TileTaken(kOdd));
      if (turn > 0) MBarrierWait(Barriers().PartsFree(), 1 - kOdd);
      self.StoreGram(gram);
      if (!large) self.Project(x);
      WarpArrive(Barriers().PartsFull());
    }
    if (turn > 0) {
      MBarrierWait(Barriers().ReturnsCome(1 - kOdd), (pair + kOdd + 1) % 2);
      if (turn > 1) MBarrierWait(Barriers().NormFree(), kOdd);
      self.WriteNorm(1 - kOdd, before);
      BoxesReady();
      WarpArrive(Barriers().NormMade());
    }
  }

  // The warp's first octet in its box.
  __device__ int FirstOctet() const { return warp_ % 2 * 4; }

  // X of the tile, in place, and its Gram matrices.
  __device__ void MixTile(int turn, Gram (&gram)[kGroups]) const {
    const SharedAt stage = SharedAddress(Stage(turn));
    const typename Mix::Row row = Mix::RowOf(lane_), row_of_y = Mix::RowOfY(lane_);
    const SharedAt rows = stage + RowsAt(row.stream) + warp_ / 2 * (2 * kRowsBox) +
                          At(row.token, FirstOctet() + row.octet, kHalf == 2 ? row.stream % 2 : 0);
    const SharedAt rows_of_y = stage + sizes_.y + warp_ / 2 * kRowsBox +
                               At(row_of_y.token, FirstOctet() + row_of_y.octet, 0);
    const uint32_t* weights = Weights(turn);
    Operands next = LoadOperands(rows, rows_of_y, 0);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const Operands now = next;  // those of the next group come meanwhile
      if (group + 1 < kGroups) next = LoadOperands(rows, rows_of_y, group + 1);
      uint32_t x[2][4];
      if constexpr (kMerge) {
        Mix::Merge(LoadWeights(weights + group * kGroupWords), now.x, now.y, x);
#pragma unroll
        for (int m = 0; m < 2; ++m) StoreMatrices(OfGroup(rows, group, m), x[m]);
        gram[group] = GramOfGroup(x);
      } else {
        gram[group] = GramOfGroup(now.x);
      }
    }
  }
  // What a merge takes, as TensorMix says; or X as it stands.
  struct Operands {
    uint32_t x[2][4], y[4];
  };
  __device__ Operands LoadOperands(SharedAt rows, SharedAt rows_of_y, int group) const {
    Operands of;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      if constexpr (kMerge) {
        LoadTransposed(of.x[m], OfGroup(rows, group, m));
      } else {
        LoadMatrices(of.x[m], OfGroup(rows, group, m));
      }
    }
    if constexpr (kMerge) LoadTransposed(of.y, OfGroup(rows_of_y, group, 0));
    return of;
  }
  // What lies of another group's tokens, and of octets 2m and 2m + 1, as `first` does of the first
  // ones: four tokens are half a swizzle.
  __device__ static SharedAt OfGroup(SharedAt first, int group, int m) {
    const int tokens = group * kGroup;
    return (first ^ ((tokens / 4 % 2 * 4 + 2 * m) * 16)) + tokens * (kBoxChannels * 2);
  }
  __device__ typename Mix::Weights LoadWeights(const uint32_t* of) const {
    const uint4* from = reinterpret_cast<const uint4*>(of) + lane_;
    const uint4 high = from[0], low = from[32];
    typename Mix::Weights words = {
        {high.x, high.y, high.z, high.w}, {low.x, low.y, low.z, low.w}, {}};
    if constexpr (Mix::kPostWords == 4) {
      const uint4 post = from[64];
      words.post[0] = post.x, words.post[1] = post.y, words.post[2] = post.z,
      words.post[3] = post.w;
    } else {
      const uint2 post = reinterpret_cast<const uint2*>(of + 256)[lane_];
      words.post[0] = post.x, words.post[1] = post.y;
    }
    return words;
  }

  // Rows of a group against its rows, as two times eight columns.  Of the products those of a token
  // with itself count: lane 4g + t has the token of row g where 2t, 2t + 1 are it and its neighbour.
  // By octets, whose registers are operands as they lie.
  __device__ Gram GramOfGroup(const uint32_t (&x)[2][4]) const {
    float first[4] = {}, second[4] = {};
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const uint32_t upper = x[c / 2][c % 2 * 2], lower = x[c / 2][c % 2 * 2 + 1];
      MmaBf16Short(first, upper, lower, upper);
      MmaBf16Short(second, upper, lower, lower);
    }
    const bool odd = Mix::TokenOf(lane_) % 2 != 0;
    return {odd ? first[1] : first[0], odd ? first[3] : first[2], odd ? second[3] : second[2]};
  }
  // Into the warp's own of Parts(), behind the products.
  __device__ void StoreGram(const Gram (&gram)[kGroups]) const {
    const int g = lane_ / 4, t = lane_ % 4, token = Mix::TokenOf(lane_);
    if (token / 2 != t % (kGroup / 2)) return;
    const int pair = kHalf * (g / kGroup) + 2 * t / kGroup;
    float* to = Part() + token * sizes_.sum_pitch + sizes_.products;
#pragma unroll
    for (int group = 0; group < kGroups; ++group, to += kGroup * sizes_.sum_pitch) {
      *reinterpret_cast<float2*>(to + 2 * pair) = {gram[group].first, gram[group].second};
      to[2 * kHalf * kHalf + pair] = gram[group].across;
    }
  }
  __device__ float* Part() const { return Parts() + warp_ * kTile * sizes_.sum_pitch; }

  // Whether all numbers whose squares the lane has are within fp16, which ends at 65504; no bf16 lies
  // between that and 2^16.
  __device__ static bool FitsF16(const Gram (&gram)[kGroups]) {
    float squares = 0.0f;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      squares += gram[group].first + gram[group].second;
    }
    return squares < 0x1p32f;  // a NaN is not
  }

  // X by tokens.
  __device__ void TakeTile(int turn, Tile& x) const {
#pragma unroll
    for (int j = 0; j < N; ++j) {
#pragma unroll
      for (int m = 0; m < 2; ++m) LoadMatrices(x[m][j], OwnRowOf(turn, j, m));
    }
  }
  __device__ SharedAt OwnRowOf(int turn, int j, int m) const {
    const SharedAt rows = SharedAddress(Stage(turn)) + warp_ / 2 * (2 * kRowsBox) + OwnRow();
    return (rows ^ (((kHalf == 2 ? j % 2 * 4 : 0) + 2 * m) * 16)) + RowsAt(j);
  }
  // Bytes into a box of rows to the lane's for matrices of tokens 0 .. 7 and 8 .. 15 of an octet, and
  // of the next one.
  __device__ int OwnRow() const {
    return At(lane_ / 8 % 2 * 8 + lane_ % 8, FirstOctet() + lane_ / 16, 0);
  }

  // The warp's products with phi, into its own of Parts().
  __device__ void Project(const Tile& x) const {
    float products[kTiles][4] = {};
#pragma unroll
    for (int j = 0; j < N; ++j) {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        uint32_t a[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          a[k] = PackF16(LowBf16(x[m][j][k]), HighBf16(x[m][j][k]));
        }
        Multiply(a, j, m, products);
      }
    }
    StoreProducts(products, 1.0f, 1.0f);
  }
  // 16 channels of a stream.
  __device__ void Multiply(const uint32_t (&a)[4], int j, int m,
                           float (&products)[kTiles][4]) const {
    const uint4* phi = Phi() + (warp_ * N + j) * (kTiles * 32) + lane_;
#pragma unroll
    for (int z = 0; z < kTiles; ++z) {
      const uint4 b = phi[z * 32];
      MmaF16(products[z], a, m == 0 ? b.x : b.z, m == 0 ? b.y : b.w);
    }
  }
  // upper, lower: what else the products of tokens g and g + 8 are to be multiplied with.
  __device__ void StoreProducts(const float (&products)[kTiles][4], float upper,
                                float lower) const {
    upper *= *InverseScale(), lower *= *InverseScale();
    float* to = Part() + lane_ / 4 * sizes_.sum_pitch + lane_ % 4 * 2;
#pragma unroll
    for (int z = 0; z < kTiles; ++z, to += 8) {
      *reinterpret_cast<float2*>(to) = {products[z][0] * upper, products[z][1] * upper};
      *reinterpret_cast<float2*>(to + 8 * sizes_.sum_pitch) = {products[z][2] * lower,
                                                               products[z][3] * lower};
    }
  }

  // The same of numbers beyond fp16, under powers of two of their tokens' own.  Rare: it reads the
  // tile by itself, and again, rather than have registers.
  __device__ void ProjectLarge(int turn) const {
    float largest[2] = {};
#pragma unroll 1
    for (int i = 0; i < 2 * N; ++i) {
      uint32_t words[4];
      LoadMatrices(words, OwnRowOf(turn, i / 2, i % 2));
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float size = fmaxf(fabsf(LowBf16(words[k])), fabsf(HighBf16(words[k])));
        largest[k % 2] = fmaxf(largest[k % 2], size);
      }
    }
    float scales[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = fmaxf(largest[half], ShuffleXor(largest[half], 1));
      largest[half] = fmaxf(largest[half], ShuffleXor(largest[half], 2));
      scales[half] = PowerBelow(largest[half], 10);
    }
    float products[kTiles][4] = {};
#pragma unroll 1
    for (int i = 0; i < 2 * N; ++i) {
      uint32_t words[4];
      LoadMatrices(words, OwnRowOf(turn, i / 2, i % 2));
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        words[k] = PackF16(LowBf16(words[k]) * scales[k % 2], HighBf16(words[k]) * scales[k % 2]);
      }
      Multiply(words, i / 2, i % 2, products);
    }
    StoreProducts(products, InversePower(scales[0]), InversePower(scales[1]));
  }

  __device__ void WriteNorm(int turn, const Tile& x) const {
    const int g = lane_ / 4, t = lane_ % 4;
    float weight[2][N], inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float4* from =
          reinterpret_cast<const float4*>(Scales(turn) + (g + 8 * half) * sizes_.scale_pitch);
      const float4 first = from[0];
      const float all[4] = {first.x, first.y, first.z, first.w};
#pragma unroll
      for (int j = 0; j < N; ++j) weight[half][j] = all[j];
      if constexpr (N == 4) {
        inverse[half] = reinterpret_cast<const float*>(from)[N];
      } else {
        inverse[half] = all[N];
      }
    }
    const float* gamma = Gamma() + warp_ * kWarpChannels + 2 * t;
    const SharedAt to = SharedAddress(Norm()) + warp_ / 2 * kRowsBox + OwnRow();
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      uint32_t out[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        uint32_t words[N];
#pragma unroll
        for (int j = 0; j < N; ++j) words[j] = x[m][j][k];
        const float2 of = *reinterpret_cast<const float2*>(gamma + 16 * m + k / 2 * 8);
        out[k] = Mix::NormOf(words, weight[k % 2], inverse[k % 2], of);
      }
      StoreMatrices(to ^ (m * 32), out);
    }
  }

  const int thread_, lane_, warp_;
};

}  // namespace birkhoff::cuda
