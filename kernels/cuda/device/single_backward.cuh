// The backward boundary in one pass over memory: 15 units of C at n = 4.  A block owns boxes of 64
// channels of all streams, a warp 8 channels of every box; the copy engine brings tiles of 8 tokens
// and takes away what stands in their places afterwards.
//
//   iteration i   dots of tile i      dX'_i . x_j, dX'_i . y, g . x_j, u . x_j, left to the gatherer
//                 tile i - 1 applied  dX, dy_below in place, and into registers dphi, dgamma
//   meanwhile     the mover           stores tile i - 1, loads tile i + 2
//                 the gatherer        sums of the warps, in their order, to the token's owner
//                 the finisher        sums of the blocks, in their order; back through norm, gates,
//                                     mapping and r; what Apply needs, to all blocks
//
// The warps wait for nobody but the finishers, a tile later.
//
//   dx_j = sum_i H_ij dX'_i + H_pre[j] du - norm x_j + dproducts phi^T
//
// The tensor cores make all of it but du: rows are the 8 tokens of two streams, columns 8 channels,
// and a token's coefficients stand on the diagonal of 8 x 8, so that a lane has all streams of a token
// and two channels.  Of the inner products the diagonal counts likewise.  Sums are fp32.  Operands
// beside streams and activations are two bf16 (16 bits: coefficients, g, dproducts for dphi), but for
// the product of dproducts and phi: fp16, under powers of two of the token's and the block's own.
// Sinkhorn's gradient is three products of n x n numbers here (device/sinkhorn_basis.cuh).
#pragma once

#include "kernels/cuda/device/backward_block.cuh"
#include "kernels/cuda/device/backward_service.cuh"
#include "kernels/cuda/device/gates.cuh"

namespace birkhoff::cuda {

// N streams, kTiles of 8 columns, kBoxes of 64 channels a block.  kSinkhorn; else the identity, without
// logits.
template <int N, int kTiles, bool kSinkhorn, int kBoxes>
class SingleBackward : private BackwardBlock<N, kTiles, kBoxes> {
 public:
  using Block = BackwardBlock<N, kTiles, kBoxes>;

  __device__ SingleBackward(const SingleBackwardArgs& args, unsigned char* shared)
      : SingleBackward(Block(args, shared)) {}

  __device__ void Run() {
    const BackwardMover<N, kTiles, kBoxes> mover(args_, shared_);
    const bool moves = warp_ == kMover && lane_ == 0;
    if (moves) {
      Barriers().Init();
      BoxesReady();
      mover.Start();
    }
    LoadPhi();
    LoadGamma(args_.gamma, args_.channels, FirstChannel(), kBoxes * kBoxChannels, Gamma());
    if (thread_ < Block::kZeros) Zeros()[thread_] = 0;
    __syncthreads();
    ClusterBarrier();
    if (warp_ < kBackwardWarps) {
      TakeRegisters<BackwardRegisters(kBoxes)>();
      WorkAll();
    } else {
      GiveRegisters<BackwardServiceRegisters(kBoxes)>();
      if (warp_ == kGatherer) {
        BackwardGatherer<N, kTiles, kBoxes>(args_, shared_).Run();
      } else if (warp_ >= kFinishers) {
        Finisher(args_, shared_, warp_ - kFinishers).Run();
      } else if (moves) {
        mover.Run();
      }
    }
    ClusterBarrier();  // nobody leaves while others may send to it
    if (warp_ == kFinishers) Finisher(args_, shared_, 0).StoreSums();
  }

 private:
  __device__ explicit SingleBackward(const Block& block)
      : Block(block),
        thread_(ThreadIndex()),
        warp_(int(unsigned(thread_) / 32)),
        lane_(int(unsigned(thread_) % 32)),
        g_(lane_ / 4),
        t_(lane_ % 4),
        piece_(lane_ % 8 * 128 + (warp_ % 8 ^ lane_ % 8) * 16),
        pieces_(lane_ / 8 % N * kBox + piece_) {}

  using Finisher = BackwardFinisher<N, kTiles, kSinkhorn, kBoxes>;
  // Which warps: of each scheduler one.
  static constexpr int kGatherer = kBackwardWarps, kMover = kGatherer + 1;
  static constexpr int kFinishers = kGatherer + 2;

  using Block::args_;
  using Block::Barriers;
  using Block::FirstChannel;
  using Block::Gamma;
  using Block::InverseScale;
  using Block::kAtNorm;
  using Block::kAtX;
  using Block::kAtY;
  using Block::kBox;
  using Block::kCoefficients;
  using Block::kDots;
  using Block::kOfG;
  using Block::kOfU;
  using Block::kOfY;
  using Block::kPacket;
  using Block::kPacketBelow;
  using Block::kPacketHalves;
  using Block::kPacketHigh;
  using Block::kPacketLow;
  using Block::kPacketNorm;
  using Block::kPacketPre;
  using Block::kPacketProducts;
  using Block::kPacketRead;
  using Block::kPacketScalars;
  using Block::kPairs;
  using Block::kTile;
  using Block::Packets;
  using Block::Parts;
  using Block::Phi;
  using Block::shared_;
  using Block::Stage;
  using Block::tiles_;
  using Block::Zeros;

  // The same thread, asked anew who it is: what the compiler makes of that beforehand, for the whole
  // loop, takes registers that the sums need.
  __device__ SingleBackward Anew() const {
    return SingleBackward(static_cast<const Block&>(*this));
  }

  // ---- phi

  static constexpr int kTwos = kTiles / 2;
  static_assert(kTwos <= 1);
  // As operand b of the tensor cores, 8 channels and 8 columns: [box][warp][fours of words][lane][4]; the
  // lane's words of a stream's first two tiles of columns, stream by stream, then of the odd tile.
  static constexpr int kPhiWords = BackwardSizes::PhiWordsOf(Block::kColumns);
  __device__ static constexpr int PhiWord(int j, int tile) {
    return tile < 2 * kTwos ? 2 * j + tile : 2 * kTwos * N + j;
  }
  // All of a thread's share is read before the scale is known, and once.
  __device__ void LoadPhi() {
    constexpr int kThreads = (kBackwardWarps + kBackwardServiceWarps) * 32;
    constexpr int kAll = kBoxes * kBackwardWarps * kPhiWords * 32;
    constexpr int kShare = (kAll + kThreads - 1) / kThreads;
    float2 share[kShare];
    float largest = 0.0f;
#pragma unroll
    for (int k = 0; k < kShare; ++k) {
      share[k] = PhiPair(thread_ + k * kThreads);
      largest = fmaxf(largest, fmaxf(fabsf(share[k].x), fabsf(share[k].y)));
    }
    // The power of two for this block's phi.
    const float scale = BlockScale(largest, Block::Tail());
    if (thread_ == 0) *InverseScale() = 1.0f / scale;
#pragma unroll
    for (int k = 0; k < kShare; ++k) {
      const int word = thread_ + k * kThreads;
      if (word < kAll) Phi()[word] = PackF16(share[k].x * scale, share[k].y * scale);
    }
  }
  // The two entries of phi in word i of Phi().
  __device__ float2 PhiPair(int i) const {
    const int lane = i / 4 % 32, word = i / 128 % (kPhiWords / 4) * 4 + i % 4;
    const int box_warp = i / (32 * kPhiWords);
    const int j = word < 2 * kTwos * N ? word / 2 : word - 2 * kTwos * N;
    const int tile = word < 2 * kTwos * N ? word % 2 : kTiles - 1;
    const int c = FirstChannel() + 8 * box_warp + lane / 4, column = 8 * tile + lane % 4 * 2;
    if (box_warp >= kBoxes * kBackwardWarps || c >= args_.channels || j >= N) return {0.0f, 0.0f};
    const float* at = args_.projection + (int64_t{j} * args_.channels + c) * args_.columns + column;
    if (args_.columns % 2 == 0) {  // column too
      return column < args_.columns ? *reinterpret_cast<const float2*>(at) : float2{0.0f, 0.0f};
    }
    return {column < args_.columns ? at[0] : 0.0f, column + 1 < args_.columns ? at[1] : 0.0f};
  }

  // ---- tiles

  // What a lane adds up over its tiles: dphi of channel g, of two streams and columns 2t and 2t + 1,
  // as the tensor cores hold it; dgamma of channels 2t and 2t + 1, of token g.
  struct Totals {
    float phi[kBoxes][kPairs][kTiles][4] = {};
    float gamma[kBoxes][2] = {};
  };

  __device__ void WorkAll() const {
    Totals totals;
    const int turns = tiles_.Turns();
#pragma unroll 1
    for (int turn = 0; turn <= turns; ++turn) {
      if (turn < turns) {
        MBarrierWait(Barriers().TileCome(turn), BackwardBarriers::Parity(turn));
        Anew().Dots(turn);
        WarpArrive(Barriers().PartsFull());
      }
      if (turn > 0) {
        MBarrierWait(Barriers().ReturnsCome(turn - 1), (turn - 1) / 2 % 2);
        Anew().Apply(turn - 1, totals);
        BoxesReady();
        WarpArrive(Barriers().TileDone(turn - 1));
      }
    }
    StoreTotals(totals);
  }

  // Of the lane's channels of a box, 2t and 2t + 1.
  __device__ float2 GammaOf(int box) const {
    return *reinterpret_cast<const float2*>(Gamma() + box * kBoxChannels + warp_ * 8 + 2 * t_);
  }

  // ---- dots

  // Of 8 x 8 products of tokens with tokens the diagonal counts: these lanes have it.
  __device__ bool OnDiagonal() const { return t_ == g_ / 2; }
  __device__ float Diagonal(float even, float odd) const { return g_ % 2 != 0 ? odd : even; }

  __device__ void Dots(int turn) const {
    const SharedAt stage = Stage(turn);
    const int64_t token = int64_t{tiles_.Tile(turn)} * kTile + g_;
    float pre[N];  // comes while the tensor cores work
    Block::LoadRow(args_.coefficients + (token < args_.tokens ? token : 0) * kCoefficients, pre);
    float dots[kDots] = {};
    DotsAbove(stage, dots);
    DotsOfNorm(stage, pre, dots);
    if (turn > 0) MBarrierWait(Barriers().PartsFree(), (turn - 1) % 2);
    if (!OnDiagonal()) return;
    float* to = Parts() + (warp_ * kTile + g_) * kDots;
#pragma unroll
    for (int k = 0; k < kDots; k += 4) {
      *reinterpret_cast<float4*>(to + k) = {dots[k], dots[k + 1], dots[k + 2], dots[k + 3]};
    }
  }

  // dX' with x and y.  A loop, or its loads would take all registers; the next box's come meanwhile.
  __device__ void DotsAbove(SharedAt stage, float (&dots)[kDots]) const {
    float sums[kPairs][N + 1][4] = {};
    uint32_t above[4], x[4], y;
    const auto load = [&](int q) {
      LoadMatrices(above, stage + pieces_ + q * N * kBox);
      LoadMatrices(x, stage + kAtX + pieces_ + q * N * kBox);
      y = LoadMatrix(stage + kAtY + piece_ + q * kBox);
    };
    const auto add = [&](int next) {
      uint32_t of[4], with[N + 1];
#pragma unroll
      for (int k = 0; k < 4; ++k) of[k] = above[k];
#pragma unroll
      for (int j = 0; j <= N; ++j) with[j] = j < N ? x[j] : y;
      load(next);
#pragma unroll
      for (int s = 0; s < kPairs; ++s) {
#pragma unroll
        for (int j = 0; j <= N; ++j) {
          MmaBf16Short(sums[s][j], of[2 * s], of[2 * s + 1], with[j]);
        }
      }
    };
    load(0);
    add(1);  // to zeros, which the compiler knows
#pragma unroll 1
    for (int q = 2; q <= kBoxes; ++q) add(q < kBoxes ? q : 0);
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
      for (int j = 0; j <= N; ++j) {
        const float* of = sums[i / 2][j] + i % 2 * 2;
        dots[j < N ? i * N + j : kOfY + i] = Diagonal(of[0], of[1]);
      }
    }
  }

  // g = gamma dnorm and u = H_pre x with x; the latter by way of x_i . x_j.
  __device__ void DotsOfNorm(SharedAt stage, const float (&pre)[N], float (&dots)[kDots]) const {
    float of_g[N][4] = {}, gram[kPairs][N][4] = {};  // of the second pair the last two
    uint32_t x[4], dnorm;
    float2 gamma;
    const auto load = [&](int q) {
      dnorm = LoadMatrix(stage + kAtNorm + piece_ + q * kBox);
      gamma = GammaOf(q);
      LoadMatrices(x, stage + kAtX + pieces_ + q * N * kBox);
    };
    const auto add = [&](int next) {
      const float first = gamma.x * LowBf16(dnorm), second = gamma.y * HighBf16(dnorm);
      const uint32_t high = PackBf16(first, second);
      const uint32_t low = PackBf16(first - LowBf16(high), second - HighBf16(high));
      uint32_t with[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) with[k] = x[k];
      load(next);
#pragma unroll
      for (int j = 0; j < N; ++j) {
#pragma unroll
        for (int s = 0; 2 * s <= j; ++s) {
          MmaBf16Short(gram[s][j], with[2 * s], with[2 * s + 1], with[j]);
        }
      }
#pragma unroll
      for (int j = 0; j < N; ++j) MmaBf16Short(of_g[j], high, low, with[j]);
    };
    load(0);
    add(1);
#pragma unroll 1
    for (int q = 2; q <= kBoxes; ++q) add(q < kBoxes ? q : 0);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      dots[kOfG + j] = Diagonal(of_g[j][0] + of_g[j][2], of_g[j][1] + of_g[j][3]);
      float of_u = 0.0f;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const int row = i < j ? i : j, column = i < j ? j : i;
        const float* of = gram[row / 2][column] + row % 2 * 2;
        of_u = fmaf(pre[i], Diagonal(of[0], of[1]), of_u);
      }
      dots[kOfU + j] = of_u;
    }
  }

  // ---- a tile applied

  // What the packets have for a lane.
  struct Operands {
    uint32_t high[kPairs][kPairs][4];  // H_res, dX by dX'
    uint32_t halves[kTiles];           // dproducts of token g
    uint32_t products[2 * kTiles];     // dproducts of tokens 2t and 2t + 1 and column g: high, low
    float scale;                       // of the products with phi
  };

  __device__ void Apply(int turn, Totals& totals) const {
    const SharedAt stage = Stage(turn);
    const uint32_t* packet = Packets(turn) + g_ * kPacket;
    const uint32_t* diagonal = OnDiagonal() ? packet : Zeros();
    Operands operands;
    Take(turn, packet, diagonal, operands);
    uint32_t x[4], above[4], dnorm;
    LoadTransposed(x, stage + kAtX + pieces_);
    LoadTransposed(above, stage + pieces_);
    dnorm = LoadMatrix(stage + kAtNorm + piece_);
    OfX of_x;
    TakeOfX(diagonal, of_x);
#pragma unroll
    for (int q = 0; q < kBoxes; ++q) {
      AddProducts(x, operands, totals.phi[q]);
      float dx[kPairs][4] = {};
      const float2 du = NormBackward(of_x, packet, x, dnorm, GammaOf(q), totals.gamma[q], dx);
      Mix(operands, diagonal, above, dx);
      if (q + 1 < kBoxes) {  // come while this box is finished
        LoadTransposed(x, stage + kAtX + pieces_ + (q + 1) * N * kBox);
        LoadTransposed(above, stage + pieces_ + (q + 1) * N * kBox);
        dnorm = LoadMatrix(stage + kAtNorm + piece_ + (q + 1) * kBox);
      }
      uint32_t words[4], below;
      Finish(q, packet, operands, du, dx, words, below);
      if (q + 1 < kBoxes) TakeOfX(diagonal, of_x);
      StoreMatrices(stage + pieces_ + q * N * kBox, words);
      if (args_.coefficients_below != nullptr) {
        StoreMatrix(stage + kAtY + piece_ + q * kBox, below);
      }
    }
  }

  // Operands that meet x: loaded anew for each box, since no registers are left to keep them in.
  struct OfX {
    uint32_t read[kPairs][4], norm[4];
  };
  __device__ static void TakeOfX(const uint32_t* diagonal, OfX& to) {
#pragma unroll
    for (int s = 0; s < kPairs; ++s) TakeFour(diagonal + kPacketRead + 4 * s, to.read[s]);
    TakeFour(diagonal + kPacketNorm, to.norm);
  }

  __device__ void Take(int turn, const uint32_t* packet, const uint32_t* diagonal,
                       Operands& to) const {
#pragma unroll
    for (int s = 0; s < kPairs; ++s) {
#pragma unroll
      for (int h = 0; h < kPairs; ++h) {
        TakeFour(diagonal + kPacketHigh + 4 * (s * kPairs + h), to.high[s][h]);
      }
    }
#pragma unroll
    for (int r = 0; r < kTiles; ++r) to.halves[r] = packet[kPacketHalves + 4 * r + t_];
    to.scale = BitsFloat(packet[kPacketScalars + 2]) * *InverseScale();
    // Matrices of 8 tokens and 8 columns.
    const int row = lane_ % 8, matrix = lane_ / 8;
    const SharedAt packets = SharedAddress(Packets(turn) + row * kPacket + kPacketProducts);
#pragma unroll
    for (int first = 0; first < 2 * kTiles; first += 4) {
      uint32_t words[4];
      LoadTransposed(words, packets + (first + matrix) % (2 * kTiles) * 16);
#pragma unroll
      for (int i = 0; i < 4 && first + i < 2 * kTiles; ++i) to.products[first + i] = words[i];
    }
  }
  __device__ static void TakeFour(const uint32_t* from, uint32_t (&to)[4]) {
    const uint4 four = *reinterpret_cast<const uint4*>(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  }
  __device__ static float4 FloatsAt(const uint32_t* from) {
    return *reinterpret_cast<const float4*>(from);
  }

  // dphi += x^T dproducts.
  __device__ static void AddProducts(const uint32_t (&x)[4], const Operands& of,
                                     float (&phi)[kPairs][kTiles][4]) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
#pragma unroll
      for (int s = 0; s < kPairs; ++s) {
#pragma unroll
        for (int r = 0; r < kTiles; ++r) {
          MmaBf16ShortHere(phi[s][r], x[2 * s], x[2 * s + 1], of.products[part * kTiles + r]);
        }
      }
    }
  }

  // du of token g and two channels; dgamma; the part of dx along x itself.
  __device__ static float2 NormBackward(const OfX& of, const uint32_t* packet,
                                        const uint32_t (&x)[4], uint32_t dnorm, float2 gamma,
                                        float (&dgamma)[2], float (&dx)[kPairs][4]) {
    float u[4] = {};  // over rms: of the high parts of H_pre, of the low ones
#pragma unroll
    for (int s = 0; s < kPairs; ++s) MmaBf16(u, of.read[s], x[2 * s], x[2 * s + 1]);
#pragma unroll
    for (int s = 0; s < kPairs; ++s) MmaBf16(dx[s], of.norm, x[2 * s], x[2 * s + 1]);
    const float2 scalars = *reinterpret_cast<const float2*>(packet + kPacketScalars);
    const float first = u[0] + u[2], second = u[1] + u[3];
    dgamma[0] = fmaf(LowBf16(dnorm), first, dgamma[0]);
    dgamma[1] = fmaf(HighBf16(dnorm), second, dgamma[1]);
    return {fmaf(scalars.x, gamma.x * LowBf16(dnorm), -scalars.y * first),
            fmaf(scalars.x, gamma.y * HighBf16(dnorm), -scalars.y * second)};
  }

  // The streams of dX'.
  __device__ static void Mix(const Operands& of, const uint32_t* diagonal,
                             const uint32_t (&above)[4], float (&dx)[kPairs][4]) {
    uint32_t low[kPairs][kPairs][4];  // the identity has none
#pragma unroll
    for (int k = 0; kSinkhorn && k < kPairs * kPairs; ++k) {
      TakeFour(diagonal + kPacketLow + 4 * k, low[k / kPairs][k % kPairs]);
    }
#pragma unroll
    for (int h = 0; h < kPairs; ++h) {
#pragma unroll
      for (int s = 0; s < kPairs; ++s) {
        MmaBf16(dx[s], of.high[s][h], above[2 * h], above[2 * h + 1]);
      }
    }
#pragma unroll
    for (int h = 0; kSinkhorn && h < kPairs; ++h) {
#pragma unroll
      for (int s = 0; s < kPairs; ++s) {
        MmaBf16(dx[s], low[s][h], above[2 * h], above[2 * h + 1]);
      }
    }
  }

  // dproducts phi^T and H_pre du beside it: dX of token g in bf16, a stream a word.  And dy_below of dX
  // as it is stored: a stage that receives dX makes the same bits.
  __device__ void Finish(int q, const uint32_t* packet, const Operands& of, float2 du,
                         const float (&dx)[kPairs][4], uint32_t (&words)[4],
                         uint32_t& dy_below) const {
    uint32_t phi[kPhiWords];
#pragma unroll
    for (int k = 0; k < kPhiWords; k += 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(
          Phi() + ((q * kBackwardWarps + warp_) * kPhiWords + k) * 32 + 4 * lane_);
      phi[k] = four.x, phi[k + 1] = four.y, phi[k + 2] = four.z, phi[k + 3] = four.w;
    }
    const float4 pres = FloatsAt(packet + kPacketPre), belows = FloatsAt(packet + kPacketBelow);
    const float pre[4] = {pres.x, pres.y, pres.z, pres.w};
    const float below[4] = {belows.x, belows.y, belows.z, belows.w};
    float dy[2] = {};
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float d[4] = {};  // of tokens; and whatever
      if constexpr (kTwos > 0) {
        const uint32_t a[4] = {of.halves[0], AnyWord(), of.halves[1], AnyWord()};
        MmaF16(d, a, phi[PhiWord(j, 0)], phi[PhiWord(j, 1)]);
      }
      if constexpr (kTiles % 2 != 0) {
        MmaF16Short(d, of.halves[kTiles - 1], AnyWord(), phi[PhiWord(j, kTiles - 1)]);
      }
      const float* mixed = dx[j / 2] + j % 2 * 2;
      words[j] = PackBf16(fmaf(of.scale, d[0], fmaf(pre[j], du.x, mixed[0])),
                          fmaf(of.scale, d[1], fmaf(pre[j], du.y, mixed[1])));
      dy[0] = fmaf(below[j], LowBf16(words[j]), dy[0]);
      dy[1] = fmaf(below[j], HighBf16(words[j]), dy[1]);
    }
#pragma unroll
    for (int j = N; j < 4; ++j) words[j] = words[j % N];  // to the same place once more
    dy_below = PackBf16(dy[0], dy[1]);
  }

  // ---- the end

  __device__ void StoreTotals(const Totals& totals) const {
    const int64_t cluster = tiles_.Cluster();
    float* phi = args_.projection_partials + cluster * N * args_.channels * args_.columns;
    float* gamma = args_.gamma_partials + cluster * args_.channels;
#pragma unroll
    for (int q = 0; q < kBoxes; ++q) {
      const int first = FirstChannel() + q * kBoxChannels + warp_ * 8;
      const bool inside = first < args_.channels;
#pragma unroll
      for (int j = 0; j < N; ++j) {
#pragma unroll
        for (int r = 0; r < kTiles; ++r) {
          const int column = r * 8 + 2 * t_;
          if (!inside || column >= args_.columns) continue;
          const float* of = totals.phi[q][j / 2][r] + j % 2 * 2;
          float* to = phi + (int64_t{j} * args_.channels + first + g_) * args_.columns + column;
          if (args_.columns % 2 == 0) {
            *reinterpret_cast<float2*>(to) = {of[0], of[1]};
          } else {
            to[0] = of[0];
            if (column + 1 < args_.columns) to[1] = of[1];
          }
        }
      }
      // Over the tokens of the warp's lanes.
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        float sum = totals.gamma[q][k];
#pragma unroll
        for (int lanes = 4; lanes < 32; lanes *= 2) sum += ShuffleXor(sum, lanes);
        if (inside && g_ == 0) gamma[first + 2 * t_ + k] = sum;
      }
    }
  }

  const int thread_, warp_, lane_, g_, t_;
  // Bytes in a box of one row a token to the warp's channels of token lane % 8 (BoxedRows); the same in
  // boxes of all streams, of stream lane / 8.
  const int piece_, pieces_;
};

}  // namespace birkhoff::cuda
