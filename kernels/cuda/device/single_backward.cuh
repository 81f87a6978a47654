// The backward boundary in one pass over memory: 15 units of C at n = 4.  Warps own 32 channels of
// all streams; tiles of 8 tokens lie in shared memory, where a warp reads what its lanes have copied.
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
// is a linear map of the token's dX'_i, x_k and dnorm, and made by the tensor cores, of groups of
// tokens: a token's vectors meet the coefficients of its own dx_j, and zeros for the other tokens of
// its group.  Sums are fp32.  Operands beside streams and activations are two bf16 (16 bits:
// coefficients, g, dproducts for dphi), but for the product of dproducts and phi: fp16, under powers
// of two of the token's and the block's own.  Sinkhorn's gradient is three products of n x n numbers
// here (device/sinkhorn_basis.cuh).
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
  using Block::InverseScale;
  using Block::kGram;
  using Block::kGroup;
  using Block::kGroups;
  using Block::kOfG;
  using Block::kOfY;
  using Block::kPacketHalves;
  using Block::kPacketMix;
  using Block::kPacketRead;
  using Block::kPacketScale;
  using Block::kPadded;
  using Block::kTile;
  using Block::kVectors;
  using Block::Lane;
  using Block::LastOf;
  using Block::Packets;
  using Block::Parts;
  using Block::Phi;
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

  // ---- where a tile lies

  // A stage has rows dX' of all streams, x of all streams, dnorm; of each row a warp has 512 bytes,
  // 16 for each token and octet of its channels.  In which order says the row: neither a lane's own
  // 16 bytes, nor the same octet of 8 tokens, nor of 8 rows of a group (TokenOf) meet a bank twice.
  static constexpr int kRowX = N, kRowDnorm = 2 * N;
  __device__ static constexpr int OrderOf(int row) {
    return row < N ? row : row < 2 * N ? kPadded + row - N : 0;
  }
  __device__ static int SlotOf(int token, int octet, int order) {
    return 8 * octet + (token ^ (2 * octet) ^ order);
  }
  __device__ int RowBytes() const { return sizes_.threads * 16; }
  // This warp's bytes of the first row.
  __device__ SharedAt Rows(const unsigned char* stage) const {
    return SharedAddress(stage) + warp_ * 512;
  }
  // Bytes from there.
  __device__ int At(int row, int token, int octet) const {
    return row * RowBytes() + SlotOf(token, octet, OrderOf(row)) * 16;
  }
  // What lies of a row as `first` does of the first row; of the octets 2m and 2m + 1 (Moved).
  __device__ SharedAt Own(SharedAt first, int row, int m = 0) const {
    return (first ^ ((OrderOf(row) ^ (4 * m)) * 16)) + (row * RowBytes() + m * 256);
  }
  __device__ SharedAt OwnOfFirst(const unsigned char* stage) const {
    return Rows(stage) + SlotOf(g_, t_, 0) * 16;
  }
  // Token q of a group.  The groups' tokens p, p + 1, ... differ in the lower bits.
  __device__ static constexpr int TokenOf(int p, int q) {
    return kGroup == 2 ? p + 4 * q : p + q % 2 * 4 + q / 2 * 2;
  }
  // The row of vector v of a token: dX'_v, or x.
  __device__ static constexpr int RowOf(int v) {
    const int j = v % kPadded < N ? v % kPadded : 0;
    return v < kPadded ? j : kRowX + j;
  }
  // Where the same lies of token TokenOf(p, q) rather than TokenOf(0, q), of octets 2m and 2m + 1
  // rather than of the first two.
  __device__ static SharedAt Moved(SharedAt at, int p, int m) {
    return (at ^ ((p ^ (4 * m)) * 16)) + m * 256;
  }

  __device__ void Prefetch(int turn) const {
    const int token = tiles_.Tile(turn) * kTile + g_;
    const bool there = inside_ && token < args_.tokens;
    const unsigned row = unsigned(args_.channels) * 2;  // bytes
    const int64_t of_streams = RowAt(there ? unsigned(token) * N : 0);
    const int64_t of_token = RowAt(there ? unsigned(token) : 0);
    const char* dx_above = reinterpret_cast<const char*>(args_.dx_above) + of_streams;
    const char* x = reinterpret_cast<const char*>(args_.x) + of_streams;
    const SharedAt to = OwnOfFirst(Stage(turn));
#pragma unroll
    for (int j = 0; j < N; ++j) {
      CopyAsync16(Own(to, j), dx_above + j * row, there);
      CopyAsync16(Own(to, kRowX + j), x + j * row, there);
    }
    CopyAsync16(Own(to, kRowDnorm), reinterpret_cast<const char*>(args_.dnorm) + of_token, there);
    CopyAsync16(OwnOfFirst(YStage(turn)), reinterpret_cast<const char*>(args_.y) + of_token, there);
  }
  // Bytes to this lane's channels of a row of C, or to the first ones where it has none.
  __device__ int64_t RowAt(unsigned row) const {
    return (inside_ ? channel_ : 0) * 2 + int64_t(uint64_t{row} * (unsigned(args_.channels) * 2));
  }

  // phi as the tensor cores' operand a, of 16 channels and 16 columns, and in the end 8: [warp][stream]
  // [16 channels], and there, for two tiles of columns, [lane][4]; for one, [lane][2].
  static constexpr int kPhiWords = kTiles * 64;  // of a warp, a stream and 16 channels
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
    const int count = geometry_.warps * N * 2 * kPhiWords;
#pragma unroll 8
    for (int i = thread_; i < count; i += int(blockDim.x)) {
      const int word = i % kPhiWords, m = i / kPhiWords % 2;
      const bool two = word < kTiles / 2 * 128;  // tiles of columns
      const int lane = two ? word / 4 % 32 : word / 2 % 32;
      const int r = two ? word / 128 * 2 + word / 2 % 2 : kTiles - 1;
      const int j = i / (2 * kPhiWords) % N, warp = i / (2 * kPhiWords) / N;
      const int column = 8 * r + lane % 4 * 2;
      const int c = first + warp * kWarpChannels + 16 * m + lane / 4 + i % 2 * 8;
      const bool there = c < args_.channels;
      const float low = there && column < args_.columns ? PhiOf(j, c, column) : 0.0f;
      const float high = there && column + 1 < args_.columns ? PhiOf(j, c, column + 1) : 0.0f;
      Phi()[i] = PackF16(low * scale, high * scale);
    }
  }
  __device__ float PhiOf(int j, int c, int column) const {
    return args_.projection[(int64_t{j} * args_.channels + c) * args_.columns + column];
  }

  // What a lane adds up over its tiles: dphi of 16 channels p and 8 columns z, as the tensor cores
  // hold it, and dgamma of channels g of its warp's four octets, of tokens 2t and 2t + 1.
  struct Totals {
    float phi[N][2][kTiles][4] = {};
    float gamma[4] = {};
  };

  __device__ void WorkAll() const {
    Totals totals;
    const int turns = tiles_.Turns();
#pragma unroll 1
    for (int turn = 0; turn <= turns; ++turn) {
      CopyWait<1>();
      WarpBarrier();  // what other lanes have copied has come
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

  // ---- dots

  // Vectors of a group against x_j of its tokens; and against y, g's high and low part, which take
  // the places of kPadded streams once or twice.  Of the products those of a token with itself count.
  static constexpr int kRests = 4 / kPadded;
  enum Rest : int { kY, kNothing, kHigh, kLow };

  __device__ void Dots(int turn) const {
    const SharedAt stage = Rows(Stage(turn));
    unsigned char* parts = reinterpret_cast<unsigned char*>(Parts()) + PartsOffset();
    SplitNorm(turn, parts);
    WarpBarrier();
    const int lane = Lane(), row = lane % 8, octet = lane / 8;
    // Matrices: rows 0 .. 7 and 8 .. 15 of the group's vectors, of two octets.
    const int token = TokenOf(0, octet % 2 * (kGroup / 2) + row / kVectors);
    const SharedAt vectors = stage + At(RowOf(row % kVectors), token, octet / 2);
    // Matrices: rows of 8 columns, of the four octets.
    const int column_token = TokenOf(0, row / kPadded), stream = row % kPadded;
    const SharedAt streams = stage + At(RowOf(kPadded + stream), column_token, octet);
    SharedAt rests[kRests];
#pragma unroll
    for (int k = 0; k < kRests; ++k) {
      const int rest = k * kPadded + stream;
      rests[k] = rest < kHigh ? Rows(YStage(turn)) + At(0, column_token, octet)
                              : SharedAddress(parts) + RestAt(rest, column_token, octet);
    }
    float of_x[kGroups][2], of_rest[kGroups][kRests];
#pragma unroll
    for (int p = 0; p < kGroups; ++p) {
      uint32_t a[2][4], b[4];
#pragma unroll
      for (int m = 0; m < 2; ++m) LoadMatrices(a[m], Moved(vectors, p, m));
      LoadMatrices(b, Moved(streams, p, 0));
      float d[4] = {};
      Multiply(a, b, d);
      of_x[p][0] = t_ < 2 ? d[0] : d[2];
      of_x[p][1] = t_ < 2 ? d[1] : d[3];
#pragma unroll
      for (int k = 0; k < kRests; ++k) {
        LoadMatrices(b, Moved(rests[k], p, 0));
        float e[4] = {};
        Multiply(a, b, e);
        const float first = t_ < 2 ? e[0] : e[2], second = t_ < 2 ? e[1] : e[3];
        of_rest[p][k] = HasG(k) ? first + second : first;
      }
    }
    WarpBarrier();  // all have read g
    StoreDots(of_x, of_rest);
  }
  // Of the k-th rests a lane has a token's products with high and low, or with y (and nothing).
  __device__ bool HasG(int k) const { return kRests == 2 ? k == 1 : t_ % 2 != 0; }
  __device__ int PartsOffset() const {  // bytes
    return warp_ * kTile * BackwardSizes::kDotPitch * 4;
  }
  // g's parts, as rows of the warp's own in Parts().
  __device__ static int RestAt(int rest, int token, int octet) {
    return (rest - kHigh) * 512 + SlotOf(token, octet, rest) * 16;
  }
  __device__ static void Multiply(const uint32_t (&a)[2][4], const uint32_t (&b)[4],
                                  float (&d)[4]) {
    MmaBf16(d, a[0], b[0], b[1]);
    MmaBf16(d, a[1], b[2], b[3]);
  }
  // g = gamma dnorm as two bf16, whose products with x_j are added up.
  __device__ void SplitNorm(int turn, unsigned char* parts) const {
    const uint4 all = LoadShared16(Own(OwnOfFirst(Stage(turn)), kRowDnorm));
    const uint32_t dnorm[4] = {all.x, all.y, all.z, all.w};
    const float4* gammas = reinterpret_cast<const float4*>(args_.gamma + (inside_ ? channel_ : 0));
    const float4 left = gammas[0], right = gammas[1];
    const float gamma[8] = {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
    uint32_t high[4], low[4];
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const float first = gamma[2 * q] * LowBf16(dnorm[q]);
      const float second = gamma[2 * q + 1] * HighBf16(dnorm[q]);
      high[q] = PackBf16(first, second);
      low[q] = PackBf16(first - LowBf16(high[q]), second - HighBf16(high[q]));
    }
    *reinterpret_cast<uint4*>(parts + RestAt(kHigh, g_, t_)) = {high[0], high[1], high[2], high[3]};
    *reinterpret_cast<uint4*>(parts + RestAt(kLow, g_, t_)) = {low[0], low[1], low[2], low[3]};
  }
  // A lane has vector v of a token with two streams of x.
  __device__ void StoreDots(const float (&of_x)[kGroups][2],
                            const float (&of_rest)[kGroups][kRests]) const {
    const int v = g_ % kVectors, j = 2 * t_ % kPadded;
    const bool above = v < kPadded;  // of dX'
    const bool mine = kPadded == 4 || g_ / kVectors == t_ % 2;
    const bool twice = kPadded == 4 && v >= kPadded + 2 && j == 0;
    const int i = v % kPadded, lower = i < 2 ? i * kPadded : 2 * i + 2;
    float* to = Parts() + (warp_ * kTile + TokenOf(0, 2 * t_ / kPadded)) * BackwardSizes::kDotPitch;
    float* pair = to + j + (above ? i * kPadded : kGram + lower);
    float* rest = to + i + (above ? kOfY : kOfG);
#pragma unroll
    for (int p = 0; p < kGroups; ++p) {
      const int at = p * BackwardSizes::kDotPitch;
      StoreTwoIf(mine && !twice, pair + at, of_x[p][0], of_x[p][1]);
#pragma unroll
      for (int k = 0; k < kRests; ++k) {
        StoreIf(mine && HasG(k) != above, rest + at, of_rest[p][k]);
      }
    }
  }

  // ---- a tile applied

  // dx of a group of tokens and 16 channels, as the tensor cores hold it: of channels g and g + 8,
  // streams Stream() and the next of token Token() of the group.
  using Mixed = float[kGroups][4];
  __device__ int Token() const { return TokenOf(0, 2 * t_ / kPadded); }  // of group 0
  __device__ int Stream() const { return 2 * t_ % kPadded; }

  __device__ void Apply(int turn, Totals& totals) const {
    AddPhi(turn, totals);
#pragma unroll 1
    for (int m = 0; m < 2; ++m) {  // 16 channels
      Mixed mixed;
      Mix(turn, m, mixed);
      WarpBarrier();  // all have read dX', x and dnorm of these channels
      AddThroughPhi(turn, m, mixed);
      WarpBarrier();
      Round(turn, m, mixed);
    }
    WarpBarrier();
    StoreRows(turn);
  }

  // Of dnorm, then of dX' and x.
  __device__ void Mix(int turn, int m, Mixed& mixed) const {
    const SharedAt stage = Rows(Stage(turn));
    const int lane = Lane(), row = lane % 8, matrix = lane / 8;
    // Matrices: 8 rows of dnorm, kPadded of each token of the group (two of them, or one and another
    // with coefficients of 0), of two octets; the same of the next group.
    const int norm_token = TokenOf(matrix / 2, row / kPadded);
    const SharedAt norms = Moved(stage + At(kRowDnorm, norm_token, matrix % 2), 0, m);
    // Matrices: rows 0 .. 7 of the group's vectors, of two octets; rows 8 .. 15.
    const int token = TokenOf(0, matrix / 2 * (kGroup / 2) + row / kVectors);
    const SharedAt vectors = Moved(stage + At(RowOf(row % kVectors), token, matrix % 2), 0, m);
    // This lane's column: stream g % kPadded of token g / kPadded of the group.
    const int q = g_ / kPadded, own = TokenOf(0, q);
    const uint32_t* packet = Packets(turn) + own * sizes_.packet;
    const uint32_t* pairs = packet + kPacketMix + (g_ % kPadded * 4 + t_) * 4;
    // dnorm's rows t has are the token's, or it multiplies with one of the zeros.
    const bool read = q == 2 * t_ / kPadded && 2 * t_ % kPadded == 0;
    const int zero = kPacketMix + 9 - LastOf(own);  // in banks of its own
    const uint32_t* reads = packet + (read ? kPacketRead + g_ % kPadded : zero);
    const int c = channel_ - 8 * t_ + 16 * m + g_;
    const float gamma_low = c < args_.channels ? args_.gamma[c] : 0.0f;
    const float gamma_high = c + 8 < args_.channels ? args_.gamma[c + 8] : 0.0f;
#pragma unroll
    for (int p = 0; p < kGroups; p += 2) {
      uint32_t of_norm[4];
      LoadTransposed(of_norm, Moved(norms, p, 0));
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        uint32_t a[4];
        LoadTransposed(a, Moved(vectors, p + k, 0));
        const uint4 four = *reinterpret_cast<const uint4*>(pairs + (p + k) * sizes_.packet);
        float e[4] = {}, d[4] = {};
        MmaBf16Short(e, of_norm[2 * k], of_norm[2 * k + 1], reads[(p + k) * sizes_.packet]);
        MmaBf16(d, a, four.x, four.y);
        MmaBf16(d, a, four.z, four.w);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          mixed[p + k][i] = fmaf(i < 2 ? gamma_low : gamma_high, e[i], d[i]);
        }
      }
    }
  }

  // dproducts phi^T.  The tensor cores make it of 16 channels and all tokens, a stream at a time; a
  // lane needs it of two streams at a token of each group: through what nobody reads any more of the
  // stage, these channels of 2 kPadded rows.  A row takes a stream of an octet: two tokens a lane.
  __device__ void AddThroughPhi(int turn, int m, Mixed& mixed) const {
    uint32_t halves[kTiles];  // of token g
    const uint32_t* packet = Packets(turn) + g_ * sizes_.packet + kPacketHalves + t_ * kTiles;
#pragma unroll
    for (int r = 0; r < kTiles; ++r) halves[r] = packet[r];
    unsigned char* rows = Stage(turn) + warp_ * 512 + m * 256;
    const uint32_t* phi = Phi() + (warp_ * N * 2 + m) * kPhiWords;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      float d[4] = {};
      ThroughPhi(phi + 2 * j * kPhiWords, halves, d);
      unsigned char* to = rows + Passed(t_, j) + j * RowBytes();
      *reinterpret_cast<float2*>(to) = {d[0], d[1]};
      *reinterpret_cast<float2*>(to + kPadded * RowBytes()) = {d[2], d[3]};
    }
    WarpBarrier();
    const uint32_t* scales = Packets(turn) + Token() * sizes_.packet + kPacketScale;
    const float inverse = *InverseScale();
#pragma unroll
    for (int p = 0; p < kGroups; p += 2) {
      const float first = BitsFloat(scales[p * sizes_.packet]) * inverse;
      const float second = BitsFloat(scales[(p + 1) * sizes_.packet]) * inverse;
      const unsigned char* from =
          rows + Passed(Token() / 2 + p / 2, Stream()) + Stream() * RowBytes();
#pragma unroll
      for (int k = 0; k < 4; ++k) {  // stream k % 2, octet k / 2
        const float2 two =
            *reinterpret_cast<const float2*>(from + (k % 2 + k / 2 * kPadded) * RowBytes());
        const int at = k / 2 * 2 + k % 2;
        mixed[p][at] = fmaf(first, two.x, mixed[p][at]);
        mixed[p + 1][at] = fmaf(second, two.y, mixed[p + 1][at]);
      }
    }
  }
  // d += phi dproducts^T of 16 channels of a stream and 8 tokens.
  __device__ static void ThroughPhi(const uint32_t* phi, const uint32_t (&halves)[kTiles],
                                    float (&d)[4]) {
#pragma unroll
    for (int r = 0; r + 1 < kTiles; r += 2) {
      const uint4 four = *reinterpret_cast<const uint4*>(phi + 64 * r + Lane() * 4);
      const uint32_t a[4] = {four.x, four.y, four.z, four.w};
      MmaF16(d, a, halves[r], halves[r + 1]);
    }
    if constexpr (kTiles % 2 != 0) {
      const uint2 last = *reinterpret_cast<const uint2*>(phi + 64 * (kTiles - 1) + Lane() * 2);
      MmaF16Short(d, last.x, last.y, halves[kTiles - 1]);
    }
  }
  // Where tokens 2 pair and the next of channel g and stream j lie in their row's 256 bytes.  In an
  // order in which neither who writes nor who reads meets a bank twice.
  __device__ int Passed(int pair, int j) const {
    const int in_half = pair % 2 * 8 + (g_ ^ (pair / 2 * 4));
    return pair / 2 * 128 + (in_half ^ (j / 2 * 8)) * 8;
  }

  // dX of 16 channels in bf16, into the rows of dX'.
  __device__ void Round(int turn, int m, const Mixed& mixed) const {
    const int lane = Lane(), row = lane % 8, matrix = lane / 8, stream = row % kPadded;
    // Matrices: 8 rows of a group, of two octets; the same of the next group.
    const int at = At(stream, TokenOf(matrix / 2, row / kPadded), matrix % 2);
    const SharedAt to = Moved(Rows(Stage(turn)) + at, 0, m);
#pragma unroll
    for (int p = 0; p < kGroups; p += 2) {
      uint32_t words[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float* of = mixed[p + k / 2] + k % 2 * 2;
        words[k] = PackBf16(of[0], of[1]);
      }
      StoreTransposed(Moved(to, p, 0), words);
    }
  }

  // dX, and dy_below of dX as it is stored: a stage that receives dX makes the same bits.
  __device__ void StoreRows(int turn) const {
    const int token = tiles_.Tile(turn) * kTile + g_;
    if (!inside_ || token >= args_.tokens) return;
    const SharedAt from = OwnOfFirst(Stage(turn));
    char* to = reinterpret_cast<char*>(args_.dx) + RowAt(unsigned(token) * N);
    float below[N], dy[8] = {};
    if constexpr (kMerge) LoadRow(Coefficients(turn) + g_ * sizes_.coefficient_pitch, below);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const uint4 all = LoadShared16(Own(from, j));
      *reinterpret_cast<uint4*>(to + j * unsigned(args_.channels) * 2) = all;
      if constexpr (kMerge) {
        const uint32_t words[4] = {all.x, all.y, all.z, all.w};
#pragma unroll
        for (int q = 0; q < 4; ++q) {
          dy[2 * q] = fmaf(below[j], LowBf16(words[q]), dy[2 * q]);
          dy[2 * q + 1] = fmaf(below[j], HighBf16(words[q]), dy[2 * q + 1]);
        }
      }
    }
    if constexpr (kMerge) {
      char* below_to = reinterpret_cast<char*>(args_.dy_below) + RowAt(unsigned(token));
      *reinterpret_cast<uint4*>(below_to) = {PackBf16(dy[0], dy[1]), PackBf16(dy[2], dy[3]),
                                             PackBf16(dy[4], dy[5]), PackBf16(dy[6], dy[7])};
    }
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

  // dphi += x^T dproducts over the tile's tokens; the low parts are 8 tokens more.  With the same
  // operand u = sum_j H_pre[j] x_j / rms, of channels g and g + 8 and tokens 2t and 2t + 1, for dgamma.
  __device__ void AddPhi(int turn, Totals& totals) const {
    const int lane = Lane(), row = lane % 8, octet = lane / 8;
    // dproducts: matrices of 8 tokens and columns, high and low.
    const SharedAt packets = SharedAddress(Packets(turn) + row * sizes_.packet);
    uint32_t b[2 * kTiles];
#pragma unroll
    for (int first = 0; first < 2 * kTiles; first += 4) {
      const int k = first + octet < 2 * kTiles ? first + octet : 0;
      uint32_t words[4];
      LoadTransposed(words, packets + (k / 2 + k % 2 * kTiles) * 16);
#pragma unroll
      for (int i = 0; i < 4 && first + i < 2 * kTiles; ++i) b[first + i] = words[i];
    }
    // H_pre / rms of token g, against itself alone.
    uint32_t reads[kPadded];
    const uint32_t* from = Packets(turn) + g_ * sizes_.packet + kPacketRead;
    if constexpr (kPadded == 4) {
      const uint4 four = *reinterpret_cast<const uint4*>(from);
      reads[0] = four.x, reads[1] = four.y, reads[2] = four.z, reads[3] = four.w;
    } else {
      reads[0] = from[0], reads[1] = from[1];
    }
    const bool mine = t_ == g_ / 2, odd = g_ % 2 != 0;
    const uint32_t take_high = !mine ? 0x4444 : odd ? 0x1044 : 0x4410;
    const uint32_t take_low = !mine ? 0x4444 : odd ? 0x3244 : 0x4432;
    // x: matrices of 8 tokens and channels, two octets, twice.
    const SharedAt stage = Rows(Stage(turn));
    const SharedAt x = stage + SlotOf(row, octet % 2, 0) * 16;
    float u[2][4] = {};
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const uint32_t of_high = ChooseBytes(reads[j], take_high);
      const uint32_t of_low = ChooseBytes(reads[j], take_low);
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        uint32_t twice[4];
        LoadTransposed(twice, Own(x, kRowX + j, p));
#pragma unroll
        for (int z = 0; z < kTiles; ++z) {
          MmaBf16(totals.phi[j][p][z], twice, b[2 * z], b[2 * z + 1]);
        }
        MmaBf16(u[p], twice, of_high, of_low);
      }
    }
    uint32_t dnorm[4];
    LoadTransposed(dnorm, stage + At(kRowDnorm, row, octet));
#pragma unroll
    for (int o = 0; o < 4; ++o) {
      const float first = u[o / 2][o % 2 * 2], second = u[o / 2][o % 2 * 2 + 1];
      totals.gamma[o] = fmaf(LowBf16(dnorm[o]), first, totals.gamma[o]);
      totals.gamma[o] = fmaf(HighBf16(dnorm[o]), second, totals.gamma[o]);
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
    for (int o = 0; o < 4; ++o) {
      float sum = totals.gamma[o];
      sum += ShuffleXor(sum, 1);
      sum += ShuffleXor(sum, 2);
      const int c = first + 8 * o + g_;
      if (t_ == 0 && c < args_.channels) {
        args_.gamma_partials[int64_t{tiles_.Cluster()} * args_.channels + c] = sum;
      }
    }
  }
};

}  // namespace birkhoff::cuda
