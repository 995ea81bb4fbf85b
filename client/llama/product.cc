#include "client/llama/product.h"

#include <cblas.h>

namespace kdn::llama {
namespace {

int Int(std::size_t value) {
  return static_cast<int>(value);
}

}  // namespace

void UseOneBlasThread() {
  openblas_set_num_threads(1);
}

void TimesTransposed(const Matrix& a, const Matrix& b, const Output& out) {
  const float beta = out.add ? 1.0F : 0.0F;
  if (a.rows == 1) {  // A matrix-matrix product would copy all of b first.
    cblas_sgemv(CblasRowMajor, CblasNoTrans, Int(b.rows), Int(b.columns), 1.0F, b.values,
                Int(b.stride), a.values, 1, beta, out.values, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, Int(a.rows), Int(b.rows), Int(a.columns),
              1.0F, a.values, Int(a.stride), b.values, Int(b.stride), beta, out.values,
              Int(out.stride));
}

void Times(const Matrix& a, const Matrix& b, const Output& out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, Int(a.rows), Int(b.columns),
              Int(a.columns), 1.0F, a.values, Int(a.stride), b.values, Int(b.stride),
              out.add ? 1.0F : 0.0F, out.values, Int(out.stride));
}

}  // namespace kdn::llama
