#include "proto/object/provenance.h"

#include <gtest/gtest.h>

#include <vector>

namespace kdn {
namespace {

// From worst to best.
const std::vector<Provenance>& Ordered() {
  static const std::vector<Provenance> kOrdered = {
      {},
      {ProvenanceKind::kBlended, Level::kDraft, 0},
      {ProvenanceKind::kBlended, Level::kDraft, 150},
      {ProvenanceKind::kBlended, Level::kDraft, 1000},
      {ProvenanceKind::kLossy, Level::kDraft, 0},
      {ProvenanceKind::kLossy, Level::kStandard, 0},
      {ProvenanceKind::kLossy, Level::kFine, 0},
      kExactProvenance,
  };
  return kOrdered;
}

TEST(Provenance, RanksFromUnknownToExact) {
  for (std::size_t i = 0; i + 1 < Ordered().size(); ++i) {
    EXPECT_LT(ProvenanceRank(Ordered()[i]), ProvenanceRank(Ordered()[i + 1])) << i;
  }
}

TEST(Provenance, TheWorseOfTwoHolds) {
  for (std::size_t i = 0; i < Ordered().size(); ++i) {
    for (std::size_t j = 0; j < Ordered().size(); ++j) {
      EXPECT_EQ(WorseOf(Ordered()[i], Ordered()[j]), Ordered()[std::min(i, j)]);
    }
  }
}

TEST(Provenance, SurvivesPacking) {
  for (const Provenance& provenance : Ordered()) {
    EXPECT_EQ(UnpackProvenance(PackProvenance(provenance)), provenance);
  }
}

TEST(Provenance, WhatDoesNotBelongToItsKindIsNotPacked) {
  EXPECT_EQ(PackProvenance({ProvenanceKind::kExact, Level::kDraft, 7}),
            PackProvenance(kExactProvenance));
  EXPECT_EQ(ProvenanceRank({ProvenanceKind::kUnknown, Level::kFine, 900}), ProvenanceRank({}));
}

TEST(Provenance, OnlyCanonicalBitsUnpack) {
  for (const std::uint32_t packed : {
           0x00000004U,  // no such kind
           0x00000402U,  // no such level
           0x03E90001U,  // 1001 permille
           0x00000100U,  // unknown with a level
           0x00010002U,  // lossy with a share
           0x00000302U,  // lossy at the exact level
           0x00000003U,  // exact without the exact level
       }) {
    const auto unpacked = UnpackProvenance(packed);
    ASSERT_FALSE(unpacked) << std::hex << packed;
    EXPECT_EQ(unpacked.error().code(), Code::kDataLoss);
  }
}

TEST(Provenance, ReadsAsOneWord) {
  EXPECT_EQ(ToString(Provenance{}), "unknown");
  EXPECT_EQ(ToString(kExactProvenance), "exact");
  EXPECT_EQ(ToString({ProvenanceKind::kLossy, Level::kStandard, 0}), "lossy:standard");
  EXPECT_EQ(ToString({ProvenanceKind::kBlended, Level::kDraft, 150}), "blended:150");
}

}  // namespace
}  // namespace kdn
