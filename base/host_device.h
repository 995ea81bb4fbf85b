// Functions that run on the host and on a GPU alike.
//
// A .cu file may include this header, so it stays within C++17.
#pragma once

#if defined(__CUDACC__)
#define KDN_HOST_DEVICE __host__ __device__
#else
#define KDN_HOST_DEVICE
#endif
