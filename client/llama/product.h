// Matrix products through OpenBLAS, each run by the thread that asks for it. OpenBLAS promises the
// same bits for the same shape and values only; nothing here calls it with a shape that depends on
// anything but the step.
//
// Thread-safety: pure functions once UseOneBlasThread() has been called.
#pragma once

#include <cstddef>

namespace kdn::llama {

// A row-major matrix, or some columns of one: `stride` values from row to row.
struct Matrix {
  const float* values;
  std::size_t rows;
  std::size_t columns;
  std::size_t stride;
};

struct Output {
  float* values;
  std::size_t stride;
  bool add = false;  // to what is there, instead of replacing it
};

// OpenBLAS's own threads stay unused: they would make results depend on their number. Process-wide.
void UseOneBlasThread();

// out = a · bᵀ
void TimesTransposed(const Matrix& a, const Matrix& b, const Output& out);
// out = a · b
void Times(const Matrix& a, const Matrix& b, const Output& out);

}  // namespace kdn::llama
