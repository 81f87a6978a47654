// The backward boundary in one pass over memory: 15 units of C at n = 4.  Warps own 32 channels of
// all streams; tiles of 8 tokens lie in shared memory, where a lane's copies put what that lane
// reads.
//
//   iteration i   dots of tile i      dX'_i . x_j, dX'_i . y, g . x_j, x_i . x_j, left to the gatherer
//                 tile i - 1 applied  dX, dy_below, and into registers dphi, dgamma
//                 tile i + 2 starts to load
//   meanwhile     the gatherer        sums of the warps, in their order, to the token's owner
//                 the finisher        sums of the blocks, in their order; back through norm, gates,
//                                     mapping and r; what Apply needs, to all blocks
//
// The warps wait for nobody but the finishers, a tile later.
//
//   dx_j = sum_i H_ij dX'_i + H_pre[j] du - norm x_j + dproducts phi^T
//
// fp32 but for the last term and dphi, which the tensor cores make: of phi in fp16 under a power of
// two of the block's own, and dproducts as two fp16, or two bf16, beside each other: 22 and 16
// bits.  Sinkhorn's gradient is three products of n x n numbers here (device/sinkhorn_basis.cuh).
#pragma once

#include "kernels/cuda/device/backward_block.cuh"
#include "kernels/cuda/device/backward_service.cuh"
#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/tile_lane.cuh"

namespace birkhoff::cuda {

// N streams, kTiles of 8 columns.  kSinkhorn; else the identity, without logits.  kMerge: with
// dy_below.
template <int N, int kTiles, bool kSinkhorn, bool kMerge, typename Fixed = AnyGeometry<kUsualWarps>>
class SingleBackward : private BackwardBlock<N, kTiles, Fixed>, private TileLane {
 public:
  using Block = BackwardBlock<N, kTiles, Fixed>;

  __device__ SingleBackward(const SingleBackwardArgs& args, unsigned char* shared)
      : SingleBackward(Block(args, shared)) {}

  __device__ void Run() {
    const int service = warp_ - geometry_.warps;
    if (service < 0) {
      for (int turn = 0; turn < 2; ++turn) {
        if (turn < tiles_.Turns()) Prefetch(turn);
        CopyCommit();
      }
    } else if (service == 0 && Lane() == 0) {
      Barriers().Init(geometry_.warps);
    }
    LoadPhi();
    __syncthreads();
    ClusterBarrier();
    if (service < 0) {
      WorkAll();
    } else if (service == 0) {
      BackwardGatherer<N, kTiles, kMerge, Fixed>(args_, shared_).Run();
    } else {
      BackwardFinisher<N, kTiles, kSinkhorn, Fixed>(args_, shared_).Run();
    }
    ClusterBarrier();  // nobody leaves while others may send to it
  }

 private:
  __device__ explicit SingleBackward(const Block& block)
      : Block(block), TileLane(rank_, geometry_.warps, args_.channels) {}

  using Block::args_;
  using Block::Barriers;
  using Block::Coefficients;
  using Block::geometry_;
  using Block::GramOf;
  using Block::InverseScale;
  using Block::kBelow;
  using Block::kInverse;
  using Block::kOfG;
  using Block::kOfY;
  using Block::kPacketFloats;
  using Block::kPacketHalves;
  using Block::kRes;
  using Block::kTile;
  using Block::Lane;
  using Block::Packets;
  using Block::Parts;
  using Block::rank_;
  using Block::shared_;
  using Block::sizes_;
  using Block::Stage;
  using Block::tiles_;
  using Block::YStage;

  // The same thread, as the compiler does not know it yet (TileLane).
  __device__ SingleBackward Anew() const {
    return SingleBackward(static_cast<const Block&>(*this));
  }

  // Slot of a lane's 16 bytes in its warp's 512, for each of the rows of a stage: dX' of all
  // streams, x of all streams, dnorm.  Rows of 8 x 8 matrices (token by channels) lie side by side,
  // turned so that neither LoadTransposed meets a bank twice, nor an access to every lane's slot,
  // or to its q-th pair (PairOf).
  __device__ static int SlotOf(int token, int octet) { return 8 * octet + (token ^ (2 * octet)); }
  __device__ int Offset(int row) const {
    return (row * sizes_.threads + warp_ * 32 + SlotOf(g_, t_)) * 16;
  }
  static constexpr int kRowX = N, kRowDnorm = 2 * N;
  // The pair of its 8 channels that a lane takes as its q-th.
  __device__ int PairOf(int q) const { return q ^ t_; }
  __device__ const float* Gamma() const {  // of this lane's 8 channels
    return reinterpret_cast<const float*>(shared_ + 16 + sizes_.phi) + warp_ * kWarpChannels +
           8 * t_;
  }

  __device__ void Prefetch(int turn) const {
    const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_;
    const bool there = inside_ && token < args_.tokens;
    const int64_t row = there ? token * args_.channels : 0;
    const int channel = there ? channel_ : 0;
    unsigned char* stage = Stage(turn);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const int64_t at = row * N + channel + j * args_.channels;
      CopyAsync16(stage + Offset(j), args_.dx_above + at, there);
      CopyAsync16(stage + Offset(kRowX + j), args_.x + at, there);
    }
    CopyAsync16(stage + Offset(kRowDnorm), args_.dnorm + row + channel, there);
    CopyAsync16(YStage(turn) + Offset(0), args_.y + row + channel, there);
  }

  // phi^T as the tensor cores' operand b: lane 4g + t holds rows (columns of phi) 8r + 2t and the
  // next, and as its column g a channel so chosen that the product's columns 2t, 2t + 1 are the
  // q-th pair of channels that the lane that gets them takes (PairOf).  Words in the order (q,
  // stream, r), kVector of them together.  Behind it gamma.
  static constexpr int kWordsAtOnce = N * kTiles;  // of one q
  static constexpr int kVector = kWordsAtOnce % 2 == 0 ? 2 : 1;
  __device__ void LoadPhi() {
    const int width = geometry_.warps * kWarpChannels, first = rank_ * width;
    const int valid = args_.channels - first < width ? args_.channels - first : width;
    // The power of two for this block's phi.
    float largest = 0.0f;
    for (int j = 0; j < N; ++j) {
      const float* from = args_.projection + (int64_t{j} * args_.channels + first) * args_.columns;
      largest = fmaxf(largest, LargestOf(from, valid * args_.columns));
    }
    const float scale = BlockScale(largest, reinterpret_cast<float*>(shared_));
    if (threadIdx.x == 0) *InverseScale() = 1.0f / scale;
    uint32_t* words = reinterpret_cast<uint32_t*>(shared_ + 16);
    const int count = geometry_.warps * 4 * kWordsAtOnce * 32;
#pragma unroll 8
    for (int i = thread_; i < count; i += int(blockDim.x)) {
      const int lane = i / kVector % 32, block = i / kVector / 32;  // of kVector words a lane
      const int word = block % (kWordsAtOnce / kVector) * kVector + i % kVector;
      const int q = block / (kWordsAtOnce / kVector) % 4;
      const int warp = block / (kWordsAtOnce / kVector) / 4;
      const int j = word / kTiles, column = word % kTiles * 8 + 2 * (lane % 4);
      const int t = lane / 8;  // of the lane that gets the column
      const int c = first + warp * kWarpChannels + 8 * t + 2 * (q ^ t) + lane / 4 % 2;
      const bool there = c < args_.channels;
      const float low = there && column < args_.columns ? Phi(j, c, column) : 0.0f;
      const float high = there && column + 1 < args_.columns ? Phi(j, c, column + 1) : 0.0f;
      words[i] = PackF16(low * scale, high * scale);
    }
    float* gamma = reinterpret_cast<float*>(shared_ + 16 + sizes_.phi);
#pragma unroll 1
    for (int i = thread_; i < width; i += int(blockDim.x)) {
      gamma[i] = first + i < args_.channels ? args_.gamma[first + i] : 0.0f;
    }
  }
  __device__ float Phi(int j, int c, int column) const {
    return args_.projection[(int64_t{j} * args_.channels + c) * args_.columns + column];
  }

  // What a lane adds up over its tiles: dphi of 16 channels p and 8 columns z, as the tensor cores
  // hold it, and dgamma of its 8 channels in the order in which it takes them.
  struct Totals {
    float phi[N][2][kTiles][4] = {};
    float gamma[8] = {};
  };

  __device__ void WorkAll() const {
    Totals totals;
    const int turns = tiles_.Turns();
#pragma unroll 1
    for (int turn = 0; turn <= turns; ++turn) {
      CopyWait<1>();  // what a lane reads until the WarpBarrier it has copied itself
      if (turn < turns) {
        if (turn > 0) MBarrierWait(Barriers().PartsFree(), (turn - 1) % 2);
        Anew().Dots(turn);
        WarpArrive(Barriers().PartsFull());
      }
      if (turn > 0) {
        MBarrierWait(Barriers().CoefficientsCome(turn - 1), (turn - 1) / 2 % 2);
        MBarrierWait(Barriers().ReturnsCome(turn - 1), (turn - 1) / 2 % 2);
        Anew().Apply(turn - 1, totals);
        WarpBarrier();
      }
      if (turn + 2 < turns) Anew().Prefetch(turn + 2);
      CopyCommit();
    }
    StoreTotals(totals);
  }

  // A product's rows are tokens of two streams (g, and g + 8), its columns tokens: of each 8 x 8
  // the diagonal counts.  The tensor cores take a lane's 8 channels in the order in which they lie.
  __device__ void Dots(int turn) const {
    const unsigned char* stage = Stage(turn);
    float* to = Parts() + (warp_ * kTile + g_) * sizes_.dot_pitch;
    // dX'_i, two streams at a time, with every x_j and with y.
    uint32_t x[N][4], y[4];
#pragma unroll
    for (int j = 0; j < N; ++j) Load(stage + Offset(kRowX + j), x[j]);
    Load(YStage(turn) + Offset(0), y);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const int next = i + 1 < N ? i + 1 : i;
      uint32_t upper[4], lower[4];
      Load(stage + Offset(i), upper);
      Load(stage + Offset(next), lower);
      const Rows rows = BothOf(upper, lower);
#pragma unroll
      for (int j = 0; j <= N; ++j) {
        float d[4] = {};
        Multiply(rows, j < N ? x[j < N ? j : 0] : y, d);
        StoreDiagonal(d, to + (j < N ? i * N + j : kOfY + i),
                      to + (j < N ? next * N + j : kOfY + next));
      }
    }
    // x_i with x_j, j >= i.
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const int next = i + 1 < N ? i + 1 : i;
      const Rows rows = BothOf(x[i], x[next]);
#pragma unroll
      for (int j = i; j < N; ++j) {
        float d[4] = {};
        Multiply(rows, x[j], d);
        StoreDiagonal(d, to + GramOf(i, j), to + GramOf(next, j));
      }
    }
    // g = gamma dnorm as two bf16, whose products with x_j are added up.
    uint32_t dnorm[4], high[4], low[4];
    Load(stage + Offset(kRowDnorm), dnorm);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const float2 gamma = *reinterpret_cast<const float2*>(Gamma() + 2 * q);
      const float first = gamma.x * LowBf16(dnorm[q]), second = gamma.y * HighBf16(dnorm[q]);
      high[q] = PackBf16(first, second);
      low[q] = PackBf16(first - LowBf16(high[q]), second - HighBf16(high[q]));
    }
    const Rows rows = BothOf(high, low);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float d[4] = {};
      Multiply(rows, x[j], d);
      const float both[4] = {d[0] + d[2], d[1] + d[3], 0.0f, 0.0f};
      StoreDiagonal(both, to + kOfG + j, to + kOfG + j);
    }
  }
  __device__ static void Load(const unsigned char* slot, uint32_t (&words)[4]) {
    const uint4 all = *reinterpret_cast<const uint4*>(slot);
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
  }
  // An operand a of 16 rows and 32 channels: two streams, or two parts of one.
  struct Rows {
    uint32_t at[2][4];
  };
  __device__ Rows BothOf(const uint32_t (&upper)[4], const uint32_t (&lower)[4]) const {
    Rows rows;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      rows.at[k / 2][k % 2 * 2] = Placed(upper[k], args_.zero);
      rows.at[k / 2][k % 2 * 2 + 1] = Placed(lower[k], args_.zero);
    }
    return rows;
  }
  __device__ static void Multiply(const Rows& rows, const uint32_t (&columns)[4], float (&d)[4]) {
    MmaBf16(d, rows.at[0], columns[0], columns[1]);
    MmaBf16(d, rows.at[1], columns[2], columns[3]);
  }
  // Element (g, g) of both halves; its lane stores it.
  __device__ void StoreDiagonal(const float (&d)[4], float* upper, float* lower) const {
    const bool mine = t_ == g_ / 2, odd = g_ % 2 != 0;
    StoreIf(mine, upper, odd ? d[1] : d[0]);
    if (lower != upper) StoreIf(mine, lower, odd ? d[3] : d[2]);
  }

  __device__ void Apply(int turn, Totals& totals) const {
    unsigned char* stage = Stage(turn);
    const uint32_t* packet = Packets(turn) + g_ * sizes_.packet;
    const float* row = Coefficients(turn) + g_ * sizes_.coefficient_pitch;
    uint32_t a[2 * kTiles];  // dproducts of this lane's columns: high and low of every 8
#pragma unroll
    for (int r = 0; r < kTiles; ++r) {
      a[2 * r] = packet[kPacketHalves + 4 * r + t_];
      a[2 * r + 1] = packet[kPacketHalves + 4 * kTiles + 4 * r + t_];
    }
    const float* floats = reinterpret_cast<const float*>(packet) + kPacketFloats;
    const float mean = floats[0], norm = floats[1], scale = floats[2] * *InverseScale();
    const float inverse = row[kInverse];
    float pre[N];
    LoadRow(row, pre);
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      KeepOrder();
      const int at = 4 * PairOf(q);
      // Two channels at a time: dproducts phi^T first.
      float sums[N][2];
      ThroughPhi(q, a, scale, sums);
      // u, and through the norm du and dgamma.
      uint32_t x[N];
      float u[2] = {0.0f, 0.0f}, du[2];
#pragma unroll
      for (int j = 0; j < N; ++j) {
        x[j] = *reinterpret_cast<const uint32_t*>(stage + Offset(kRowX + j) + at);
        u[0] = fmaf(pre[j], LowBf16(x[j]), u[0]);
        u[1] = fmaf(pre[j], HighBf16(x[j]), u[1]);
      }
      const uint32_t dnorm = *reinterpret_cast<const uint32_t*>(stage + Offset(kRowDnorm) + at);
      const float2 gamma = *reinterpret_cast<const float2*>(Gamma() + 2 * PairOf(q));
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float in = e == 0 ? LowBf16(dnorm) : HighBf16(dnorm);
        u[e] *= inverse;
        totals.gamma[2 * q + e] = fmaf(in, u[e], totals.gamma[2 * q + e]);
        du[e] = inverse * fmaf(e == 0 ? gamma.x : gamma.y, in, -u[e] * mean);
      }
      // H_pre du, the path through r, and H_res^T dX'.
#pragma unroll
      for (int j = 0; j < N; ++j) {
        sums[j][0] = fmaf(-norm, LowBf16(x[j]), fmaf(pre[j], du[0], sums[j][0]));
        sums[j][1] = fmaf(-norm, HighBf16(x[j]), fmaf(pre[j], du[1], sums[j][1]));
      }
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const uint32_t above = *reinterpret_cast<const uint32_t*>(stage + Offset(i) + at);
        float res[N];
        LoadRow(row + kRes + i * N, res);
#pragma unroll
        for (int j = 0; j < N; ++j) {
          sums[j][0] = fmaf(res[j], LowBf16(above), sums[j][0]);
          sums[j][1] = fmaf(res[j], HighBf16(above), sums[j][1]);
        }
      }
      // Over dX' and dnorm, which nobody else reads: registers are short.
      float dy[2] = {0.0f, 0.0f}, below[N];
      LoadRow(row + kBelow, below);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const uint32_t dx = PackBf16(sums[j][0], sums[j][1]);
        *reinterpret_cast<uint32_t*>(stage + Offset(j) + at) = dx;
        // Of dX as it is stored: a stage that receives dX makes the same bits.
        dy[0] = fmaf(below[j], LowBf16(dx), dy[0]);
        dy[1] = fmaf(below[j], HighBf16(dx), dy[1]);
      }
      if constexpr (kMerge) {
        *reinterpret_cast<uint32_t*>(stage + Offset(kRowDnorm) + at) = PackBf16(dy[0], dy[1]);
      }
    }
    StoreRows(turn);
    AddPhi(turn, totals);
  }

  // N of a token's coefficients.
  __device__ static void LoadRow(const float* from, float (&to)[N]) {
    if constexpr (N == 4) {
      const float4 all = *reinterpret_cast<const float4*>(from);
      to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) to[j] = from[j];
    }
  }

  // dproducts phi^T of the lane's token, channels 2q, 2q + 1 of its 8, all streams.
  __device__ void ThroughPhi(int q, const uint32_t (&a)[2 * kTiles], float scale,
                             float (&sums)[N][2]) const {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(shared_ + 16) +
                            (warp_ * 4 + q) * kWordsAtOnce * 32 + thread_ % 32 * kVector;
    // Two streams at a time: registers are short.
#pragma unroll
    for (int first = 0; first < N; first += 2) {
      constexpr int kMost = 2 * kTiles;
      const int count = (N - first < 2 ? N - first : 2) * kTiles;
      uint32_t b[kMost];
#pragma unroll
      for (int k = 0; k < count; k += kVector) {
        const uint32_t* from = words + (first * kTiles + k) * 32;
        if constexpr (kVector == 2) {
          const uint2 two = *reinterpret_cast<const uint2*>(from);
          b[k] = two.x, b[k + 1] = two.y;
        } else {
          b[k] = *from;
        }
      }
#pragma unroll
      for (int j = first; j < N && j < first + 2; ++j) {
        const uint32_t* of = b + (j - first) * kTiles;
        float d[4] = {};
#pragma unroll
        for (int r = 0; r + 1 < kTiles; r += 2) {
          const uint32_t both[4] = {a[2 * r], a[2 * r + 1], a[2 * r + 2], a[2 * r + 3]};
          MmaF16(d, both, of[r], of[r + 1]);
        }
        if constexpr (kTiles % 2 != 0) {
          MmaF16Short(d, a[2 * kTiles - 2], a[2 * kTiles - 1], of[kTiles - 1]);
        }
        // Rows g are of the high parts, rows g + 8 of the low ones.
        sums[j][0] = (d[0] + d[2]) * scale;
        sums[j][1] = (d[1] + d[3]) * scale;
      }
    }
  }

  // dX and dy_below, from where Apply left them.
  __device__ void StoreRows(int turn) const {
    const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_;
    if (!inside_ || token >= args_.tokens) return;
    const unsigned char* stage = Stage(turn);
    bf16* to = args_.dx + token * N * args_.channels + channel_;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      *reinterpret_cast<uint4*>(to + j * args_.channels) =
          *reinterpret_cast<const uint4*>(stage + Offset(j));
    }
    if constexpr (kMerge) {
      *reinterpret_cast<uint4*>(args_.dy_below + token * args_.channels + channel_) =
          *reinterpret_cast<const uint4*>(stage + Offset(kRowDnorm));
    }
  }

  // dphi += x^T dproducts over the tile's tokens; the low parts are 8 tokens more.
  __device__ void AddPhi(int turn, Totals& totals) const {
    const uint32_t* packets = Packets(turn);
    uint32_t high[kTiles], low[kTiles];
#pragma unroll
    for (int z = 0; z < kTiles; ++z) {
      const uint32_t first = packets[2 * t_ * sizes_.packet + 8 * z + g_];
      const uint32_t second = packets[(2 * t_ + 1) * sizes_.packet + 8 * z + g_];
      high[z] = (first & 0xffffu) | second << 16;
      low[z] = first >> 16 | (second & 0xffff0000u);
    }
    const int lane = Lane();
    const unsigned char* x =
        Stage(turn) + (kRowX * sizes_.threads + warp_ * 32 + SlotOf(lane % 8, lane / 8)) * 16;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      uint32_t words[4];
      LoadTransposed(words, x + j * sizes_.threads * 16);
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        const uint32_t twice[4] = {words[2 * p], words[2 * p + 1], words[2 * p], words[2 * p + 1]};
#pragma unroll
        for (int z = 0; z < kTiles; ++z) {
          MmaBf16(totals.phi[j][p][z], twice, high[z], low[z]);
        }
      }
    }
  }

  __device__ void StoreTotals(const Totals& totals) const {
    const int first = (rank_ * geometry_.warps + warp_) * kWarpChannels;
    // dphi, where a lane's numbers of the tensor cores belong.
    float* phi =
        args_.projection_partials + int64_t{tiles_.Cluster()} * N * args_.channels * args_.columns;
#pragma unroll
    for (int j = 0; j < N; ++j) {
#pragma unroll
      for (int p = 0; p < 2; ++p) {
#pragma unroll
        for (int z = 0; z < kTiles; ++z) {
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const int c = first + 16 * p + g_ + k / 2 * 8, column = 8 * z + 2 * t_ + k % 2;
            if (c >= args_.channels || column >= args_.columns) continue;
            phi[(int64_t{j} * args_.channels + c) * args_.columns + column] =
                totals.phi[j][p][z][k];
          }
        }
      }
    }
    // dgamma, over the tokens of the warp's lanes.
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      float sum = totals.gamma[k];
      sum += ShuffleXor(sum, 4);
      sum += ShuffleXor(sum, 8);
      sum += ShuffleXor(sum, 16);
      if (g_ == 0 && inside_) {
        args_.gamma_partials[int64_t{tiles_.Cluster()} * args_.channels + channel_ +
                             2 * PairOf(k / 2) + k % 2] = sum;
      }
    }
  }
};

}  // namespace birkhoff::cuda
