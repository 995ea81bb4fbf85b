#include "codec/plane_layout.h"

#include <array>

namespace kdn::codec {
namespace {

// Exponent, with the sign where that makes the rest a width that packs; then what is left.
constexpr std::array kBf16 = {PlaneLayout{8, 8}, PlaneLayout{8, 8}};
constexpr std::array kFp16 = {PlaneLayout{6, 8}, PlaneLayout{2, 2}, PlaneLayout{8, 8}};
constexpr std::array kFp32 = {PlaneLayout{8, 8}, PlaneLayout{8, 8}, PlaneLayout{8, 8},
                              PlaneLayout{8, 8}};
constexpr std::array kFp8E4M3 = {PlaneLayout{4, 4}, PlaneLayout{4, 4}};
constexpr std::array kFp8E5M2 = {PlaneLayout{6, 8}, PlaneLayout{2, 2}};

}  // namespace

std::span<const PlaneLayout> PlanesOf(DType dtype) {
  switch (dtype) {
    case DType::kBf16:
      return kBf16;
    case DType::kFp16:
      return kFp16;
    case DType::kFp32:
      return kFp32;
    case DType::kFp8E4M3:
      return kFp8E4M3;
    case DType::kFp8E5M2:
      return kFp8E5M2;
  }
  return {};
}

}  // namespace kdn::codec
