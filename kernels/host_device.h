// Marks a function that both processors run: what nvcc compiles for both, and others as it is.
#pragma once

#ifdef __CUDACC__
#define BIRKHOFF_HOST_DEVICE __host__ __device__
#else
#define BIRKHOFF_HOST_DEVICE
#endif
