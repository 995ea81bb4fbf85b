// Eigenvectors of a covariance: what a profile's transform is made of.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <vector>

namespace kdn::codec {

// Of the symmetric n x n matrix `a`, by cyclic Jacobi rotations: `a` ends up diagonal, column k of
// `vectors`, of length 1, is the vector of a[k][k]. Requires: finite values.
void Diagonalise(std::size_t n, std::vector<double>& a, std::vector<double>& vectors);

}  // namespace kdn::codec
