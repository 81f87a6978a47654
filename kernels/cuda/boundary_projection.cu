// The first half of the forward pass: X from its source, and while its numbers are at hand their
// products with phi (or theta) and their mean squares.
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/mix.cuh"
#include "kernels/cuda/device/source.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kTokens = 32;               // of a block: each number of phi is used so often
constexpr int kTokenPitch = kTokens + 2;  // two lanes a bank at most when packs are transposed

// kMhc: one row of `columns` products over all n C numbers of a token.  kHc: n rows, one a stream,
// against the same theta.
template <int N, typename T, bool kIsHc, int kMostColumns>
struct ProjectionTile {
  static constexpr int kChannels = (N <= 4 ? 128 : 64) / int{sizeof(T)};  // between two barriers
  static constexpr int kPacks = kChannels / kLanes<T>;                    // of a row
  static constexpr int kGroups = kIsHc ? N : 1;                           // rows of products
  static constexpr int kPerLane = (kMostColumns + 3) / 4;                 // columns of a lane
  static constexpr int kColumnPitch = 4 * kPerLane;
  static constexpr int kSums = kTokens * kGroups * (kMostColumns + 1);

  union {
    T x[N * kChannels][kTokenPitch];  // transposed: one row a channel
    float sums[kSums];                // [tokens][groups][columns, then the sum of squares]
  };
  float weights[kChannels][kColumnPitch];  // of one stream
};

// Two neighbours of a row of the tile.
__device__ inline float2 LoadPair(const float* at) { return *reinterpret_cast<const float2*>(at); }
__device__ inline float2 LoadPair(const bf16* at) {
  const unsigned both = *reinterpret_cast<const unsigned*>(at);
  return {__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u)};
}

template <int N, typename T, typename Tile>
__device__ inline void LoadX(const BoundaryForwardArgs<T>& args, int64_t first, int64_t c0,
                             bool vector, Tile& tile) {
  const int token = int(threadIdx.x) / Tile::kPacks;
  const int row = int(threadIdx.x) % Tile::kPacks * kLanes<T>;
  if (token >= kTokens) return;
  const int64_t C = args.shape.channels, t = first + token, c = c0 + row;
  StreamLanes<N, T> x = {};
  if (t < args.shape.tokens && c < C) {
    x = SourceStreams<N>(args.source, args.x, C, t, c, vector);
    if (args.source.kind != BoundarySource::kReceived) {
      StoreStreams(x, C, c, vector, args.x + t * N * C);
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) {
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) {
      tile.x[j * Tile::kChannels + row + k][token] = Store<T>(x.stream[j].at[k]);
    }
  }
}

// Weights of stream j, channels c0 and on; zeros beyond the row's end and the last column.
template <typename Tile>
__device__ inline void LoadWeights(const BoundaryShape& shape, const float* projection, int columns,
                                   int j, int64_t c0, Tile& tile) {
  const int64_t C = shape.channels;
  const bool hc = shape.kind == BoundaryKind::kHc;
  for (int i = int(threadIdx.x); i < Tile::kChannels * Tile::kColumnPitch; i += kThreads) {
    const int row = i / Tile::kColumnPitch, column = i % Tile::kColumnPitch;
    const int64_t c = c0 + row;
    float weight = 0.0f;
    if (c < C && column < columns) {
      weight = projection[hc ? column * C + c : (j * C + c) * columns + column];
    }
    tile.weights[row][column] = weight;
  }
}

// A block owns kTokens tokens; lane (g, h) of every warp owns tokens 2g, 2g + 1, 16 + 2g, 17 + 2g
// times a quarter h of the columns; a warp owns every eighth channel of the tile, and the warps are
// added in order at the end.  grid: tokens / kTokens; shared: one tile, 22 KB for bf16 at n = 4.
// X is read and written once, phi once a block.
template <int N, typename T, bool kIsHc, int kMostColumns>
__global__ __launch_bounds__(kThreads) void ProjectionKernel(BoundaryForwardArgs<T> args,
                                                             int columns, bool vector) {
  using Tile = ProjectionTile<N, T, kIsHc, kMostColumns>;
  constexpr int kGroups = Tile::kGroups, kPerLane = Tile::kPerLane;
  __shared__ __align__(16) unsigned char shared[sizeof(Tile)];
  Tile& tile = *reinterpret_cast<Tile*>(shared);
  const int64_t C = args.shape.channels, first = int64_t{blockIdx.x} * kTokens;
  const int warp = int(threadIdx.x) / 32, g = int(threadIdx.x) % 32 / 4, h = int(threadIdx.x) % 4;
  float sums[kGroups][4][kPerLane] = {}, squares[kGroups][4] = {};

  // Products and squares, a tile of channels at a time: X of all streams, phi of one at a time.
  for (int64_t c0 = 0; c0 < C; c0 += Tile::kChannels) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (j == 0 || !kIsHc) {
        __syncthreads();  // the tile has been used
        if (j == 0) LoadX<N>(args, first, c0, vector, tile);
        LoadWeights(args.shape, args.parameters.projection, columns, j, c0, tile);
        __syncthreads();
      }
      const int group = kIsHc ? j : 0;
      for (int k = warp; k < Tile::kChannels; k += kWarps) {
        const T* row = tile.x[j * Tile::kChannels + k];
        const float2 low = LoadPair(row + 2 * g), high = LoadPair(row + 16 + 2 * g);
        const float x[4] = {low.x, low.y, high.x, high.y};
        float weight[kPerLane];
#pragma unroll
        for (int m = 0; m < kPerLane; ++m) weight[m] = tile.weights[k][h * kPerLane + m];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          squares[group][i] = fmaf(x[i], x[i], squares[group][i]);
#pragma unroll
          for (int m = 0; m < kPerLane; ++m) {
            sums[group][i][m] = fmaf(x[i], weight[m], sums[group][i][m]);
          }
        }
      }
    }
  }

  // The warps' sums, one warp after the other.
  const int width = kGroups * (columns + 1);
  for (int turn = 0; turn < kWarps; ++turn) {
    __syncthreads();
    if (warp != turn) continue;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float* out = tile.sums + (i / 2 * 16 + 2 * g + i % 2) * width + group * (columns + 1);
#pragma unroll
        for (int m = 0; m < kPerLane; ++m) {
          const int column = h * kPerLane + m;
          if (column >= columns) continue;
          out[column] = turn == 0 ? sums[group][i][m] : out[column] + sums[group][i][m];
        }
        if (h == 0) out[columns] = squares[group][i] + (turn == 0 ? 0.0f : out[columns]);
      }
    }
  }
  __syncthreads();

  // p, q, s and 1 / r, as they are kept for the backward pass.
  const float terms = float(kIsHc ? C : N * C);
  for (int i = int(threadIdx.x); i < kTokens * width; i += kThreads) {
    const int64_t t = first + i / width;
    if (t >= args.shape.tokens) break;
    const int column = i % width % (columns + 1);
    const float mean = tile.sums[i - column + columns] / terms;
    const float inverse = 1.0f / sqrtf(mean + float(args.shape.mix_eps));
    args.logits[t * width + i % width] = column == columns ? inverse : tile.sums[i] * inverse;
  }
}

template <int N, typename T, bool kIsHc, int kMostColumns>
void Launch(const BoundaryForwardArgs<T>& args, StreamHandle stream) {
  const BoundarySourceArgs<T>& source = args.source;
  const int columns = ProjectionColumns(args.shape);
  const bool vector =
      MovesPacks(args.shape.channels, {args.x, source.embedding, source.x, source.y});
  const unsigned blocks = unsigned((args.shape.tokens + kTokens - 1) / kTokens);
  ProjectionKernel<N, T, kIsHc, kMostColumns>
      <<<blocks, kThreads, 0, stream>>>(args, columns, vector);
}

}  // namespace

template <typename T>
absl::Status ProjectForward(const BoundaryForwardArgs<T>& args, StreamHandle stream) {
  WithStreams(args.shape.streams, [&](auto n) {
    constexpr int kN = n(), kUsual = 2 * kN + kN * kN;
    if (args.shape.kind == BoundaryKind::kHc) return Launch<kN, T, true, kN + 2>(args, stream);
    if constexpr (kN == 4) {  // the one case with more logits than n^2
      if (args.shape.mapping == MappingKind::kPermutations) {
        return Launch<kN, T, false, 2 * kN + 24>(args, stream);
      }
    }
    Launch<kN, T, false, kUsual>(args, stream);
  });
  return LaunchStatus("ProjectionKernel");
}

template absl::Status ProjectForward(const BoundaryForwardArgs<float>&, StreamHandle);
template absl::Status ProjectForward(const BoundaryForwardArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
