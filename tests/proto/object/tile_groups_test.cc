// Goal: whoever writes a part, its tiles have the borders that one writer of all would use.
#include <gtest/gtest.h>

#include <vector>

#include "proto/object/segment.h"

namespace kdn {
namespace {

KvGroup Group(std::vector<std::uint16_t> layers) {
  KvGroup group;
  group.layers = std::move(layers);
  group.kv_heads = 8;
  group.k_head_size = 64;
  group.v_head_size = 64;
  return group;
}

ModelSpec Uniform(std::uint16_t layer_count) {
  std::vector<std::uint16_t> layers(layer_count);
  for (std::uint16_t i = 0; i < layer_count; ++i) layers[i] = i;
  ModelSpec spec;
  spec.groups = {Group(layers)};
  return spec;
}

using Ranges = std::vector<Range>;

TEST(LayerGroups, CoverThePartInOrder) {
  EXPECT_EQ(LayerGroups(Uniform(10), {0, 10}, 4), (Ranges{{0, 4}, {4, 4}, {8, 2}}));
  EXPECT_EQ(LayerGroups(Uniform(10), {0, 10}, 100), (Ranges{{0, 10}}));
  EXPECT_EQ(LayerGroups(Uniform(3), {0, 3}, 1), (Ranges{{0, 1}, {1, 1}, {2, 1}}));
}

TEST(LayerGroups, AreCutInTheModelsCoordinatesNotThePartsOwn) {
  EXPECT_EQ(LayerGroups(Uniform(16), {6, 6}, 4), (Ranges{{6, 2}, {8, 4}}));
}

TEST(LayerGroups, OfTwoPipelineStagesAreThoseOfOneWriter) {
  const ModelSpec spec = Uniform(32);
  for (const std::uint16_t layers_per_group : {1, 2, 4, 8, 16}) {
    Ranges both = LayerGroups(spec, {0, 16}, layers_per_group);
    const Ranges second = LayerGroups(spec, {16, 16}, layers_per_group);
    both.insert(both.end(), second.begin(), second.end());
    EXPECT_EQ(both, LayerGroups(spec, {0, 32}, layers_per_group));
  }
}

TEST(LayerGroups, DoNotCrossKvGroups) {
  ModelSpec spec;
  spec.groups = {Group({0, 1, 2, 5}), Group({3, 4, 6, 7})};
  EXPECT_EQ(LayerGroups(spec, {0, 8}, 4), (Ranges{{0, 3}, {3, 1}, {4, 1}, {5, 1}, {6, 2}}));
}

TEST(HeadGroups, OfTwoTensorParallelWritersAreThoseOfOneWriter) {
  for (const std::uint16_t heads_per_group : {1, 2, 4}) {
    Ranges both = HeadGroups({0, 4}, heads_per_group);
    const Ranges second = HeadGroups({4, 4}, heads_per_group);
    both.insert(both.end(), second.begin(), second.end());
    EXPECT_EQ(both, HeadGroups({0, 8}, heads_per_group));
  }
}

TEST(HeadGroups, OfAnOddShareBeginAtTheShare) {
  EXPECT_EQ(HeadGroups({3, 6}, 4), (Ranges{{3, 1}, {4, 4}, {8, 1}}));
}

}  // namespace
}  // namespace kdn
