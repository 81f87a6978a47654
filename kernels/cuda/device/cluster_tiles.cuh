// How a persistent grid of clusters shares the tiles of tokens: round and round.
#pragma once

#include <cstdint>

namespace birkhoff::cuda {

// This cluster's tiles are Tile(0) .. Tile(turns - 1).
class ClusterTiles {
 public:
  __device__ ClusterTiles(int64_t tokens, int tile_tokens, int cluster_blocks)
      : cluster_(int(blockIdx.x) / cluster_blocks),
        clusters_(int(gridDim.x) / cluster_blocks),
        turns_(TurnsOf(int((tokens + tile_tokens - 1) / tile_tokens))) {}

  __device__ int Cluster() const { return cluster_; }
  __device__ int Turns() const { return turns_; }
  __device__ int Tile(int turn) const { return cluster_ + turn * clusters_; }

 private:
  __device__ int TurnsOf(int tiles) const {
    return tiles > cluster_ ? (tiles - cluster_ + clusters_ - 1) / clusters_ : 0;
  }
  const int cluster_, clusters_, turns_;
};

}  // namespace birkhoff::cuda
