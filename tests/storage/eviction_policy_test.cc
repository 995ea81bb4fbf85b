// Every eviction policy is held to these; what is leaf-LRU's own follows.
#include "storage/policy/eviction_policy.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace kdn::storage::test {
namespace {

ChunkKey KeyOf(std::uint64_t number) {
  ChunkKey key;
  for (std::size_t i = 0; i < 8; ++i) key.bytes[i] = static_cast<std::byte>(number >> (8 * i));
  key.bytes[31] = std::byte{1};
  return key;
}

// Object `number`, a child of object `parent` (0: of none).
Candidate Make(std::uint64_t number, std::uint64_t parent = 0, std::uint16_t part = 0) {
  return {.slot = ObjectSlot{number},
          .tenant = TenantId{1},
          .key = KeyOf(number),
          .parent = parent == 0 ? ChunkKey{} : KeyOf(parent),
          .part = part,
          .bytes = 1000};
}

class EvictionPolicyTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  std::vector<std::uint64_t> EvictAll() {
    std::vector<std::uint64_t> order;
    while (const auto victim = policy_->Victim()) {
      order.push_back(static_cast<std::uint64_t>(*victim));
      policy_->OnErase(*victim);
    }
    return order;
  }
  std::unique_ptr<EvictionPolicy> policy_ = MakeEvictionPolicy(GetParam()).value();
};

TEST_P(EvictionPolicyTest, EmptyHasNoVictim) {
  EXPECT_EQ(policy_->Victim(), std::nullopt);
}

TEST_P(EvictionPolicyTest, VictimStaysUntilItIsErased) {
  policy_->OnInsert(Make(1), 1);
  EXPECT_EQ(policy_->Victim(), ObjectSlot{1});
  EXPECT_EQ(policy_->Victim(), ObjectSlot{1});
  policy_->OnErase(ObjectSlot{1});
  EXPECT_EQ(policy_->Victim(), std::nullopt);
}

TEST_P(EvictionPolicyTest, ChainGoesFromItsEndWhateverItsAgeOrOrderOfArrival) {
  policy_->OnInsert(Make(3, 2), 1);
  policy_->OnInsert(Make(1), 2);
  policy_->OnInsert(Make(4, 3), 3);
  policy_->OnInsert(Make(2, 1), 4);
  policy_->OnHit(ObjectSlot{4}, 100);
  EXPECT_EQ(EvictAll(), (std::vector<std::uint64_t>{4, 3, 2, 1}));
}

TEST_P(EvictionPolicyTest, PartsAndTenantsAreChainsOfTheirOwn) {
  Candidate child = Make(2, 1, /*part=*/1);
  policy_->OnInsert(Make(1), 1);
  policy_->OnInsert(child, 2);
  EXPECT_EQ(policy_->Victim(), ObjectSlot{1});
  child = Make(3, 1);
  child.tenant = TenantId{2};
  policy_->OnInsert(child, 3);
  EXPECT_EQ(policy_->Victim(), ObjectSlot{1});
}

TEST_P(EvictionPolicyTest, HeldObjectsAndTheirAncestorsStay) {
  policy_->OnInsert(Make(1), 1);
  policy_->OnInsert(Make(2, 1), 2);
  policy_->Hold(ObjectSlot{2}, true);
  EXPECT_EQ(policy_->Victim(), std::nullopt);
  policy_->OnHit(ObjectSlot{2}, 3);
  policy_->Hold(ObjectSlot{2}, false);
  EXPECT_EQ(policy_->Victim(), ObjectSlot{2});
  policy_->Hold(ObjectSlot{2}, true);
  policy_->OnErase(ObjectSlot{2});
  EXPECT_EQ(policy_->Victim(), ObjectSlot{1});
}

TEST_P(EvictionPolicyTest, RingsOfParentsCanStillBeGivenUp) {
  policy_->OnInsert(Make(1, 1), 1);
  policy_->OnInsert(Make(2, 3), 2);
  policy_->OnInsert(Make(3, 4), 3);
  policy_->OnInsert(Make(4, 2), 4);
  EXPECT_EQ(EvictAll().size(), 4U);
}

TEST_P(EvictionPolicyTest, RandomUseKeepsLeafFirst) {
  std::mt19937 random(5);
  struct Known {
    std::uint64_t parent = 0;
    bool held = false;
  };
  std::map<std::uint64_t, Known> known;
  const auto has_child = [&](std::uint64_t number) {
    return std::any_of(known.begin(), known.end(),
                       [&](const auto& k) { return k.second.parent == number; });
  };
  std::uint64_t now = 0;
  for (int step = 0; step < 6'000; ++step) {
    const std::uint64_t number = 1 + random() % 60;
    const auto found = known.find(number);
    now += random() % 3;
    switch (random() % 5) {
      case 0:
      case 1:
        if (found != known.end()) {
          policy_->OnHit(ObjectSlot{number}, now);
        } else {
          // Parents have smaller numbers: no rings.
          known[number].parent = random() % number;
          policy_->OnInsert(Make(number, known[number].parent), now);
        }
        break;
      case 2:
        if (found == known.end()) break;
        found->second.held = !found->second.held;
        policy_->Hold(ObjectSlot{number}, found->second.held);
        break;
      case 3:
        if (found == known.end()) break;
        known.erase(found);
        policy_->OnErase(ObjectSlot{number});
        break;
      default: {
        const auto victim = policy_->Victim();
        const bool any = std::any_of(known.begin(), known.end(), [&](const auto& k) {
          return !k.second.held && !has_child(k.first);
        });
        ASSERT_EQ(victim.has_value(), any);
        if (!victim) break;
        const auto chosen = known.find(static_cast<std::uint64_t>(*victim));
        ASSERT_NE(chosen, known.end());
        ASSERT_FALSE(chosen->second.held);
        ASSERT_FALSE(has_child(chosen->first));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllPolicies, EvictionPolicyTest, ::testing::Values("leaf_lru"),
                         [](const auto& name) { return std::string(name.param); });

TEST(EvictionPoliciesTest, EveryRegisteredPolicyIsFoundAndOthersAreNot) {
  for (const EvictionPolicyInfo& info : EvictionPolicies()) {
    EXPECT_TRUE(MakeEvictionPolicy(info.name).has_value());
  }
  EXPECT_EQ(EvictionPolicies().size(), 1U) << "add the new policy to AllPolicies";
  EXPECT_EQ(MakeEvictionPolicy("none").error().code(), Code::kNotFound);
}

TEST(LeafLruTest, OfLeavesTheOneUsedLongestAgoGoes) {
  const auto policy = MakeEvictionPolicy("leaf_lru").value();
  for (std::uint64_t number = 1; number <= 3; ++number) policy->OnInsert(Make(number), number);
  policy->OnHit(ObjectSlot{1}, 10);
  EXPECT_EQ(policy->Victim(), ObjectSlot{2});
  policy->OnHit(ObjectSlot{2}, 10);  // at the same time, but later
  policy->OnErase(ObjectSlot{3});
  EXPECT_EQ(policy->Victim(), ObjectSlot{1});
}

TEST(LeafLruTest, ParentThatBecomesALeafKeepsItsOwnAge) {
  const auto policy = MakeEvictionPolicy("leaf_lru").value();
  policy->OnInsert(Make(1), 1);
  policy->OnInsert(Make(2, 1), 2);
  policy->OnInsert(Make(3), 3);
  policy->OnErase(ObjectSlot{2});
  EXPECT_EQ(policy->Victim(), ObjectSlot{1});
}

}  // namespace
}  // namespace kdn::storage::test
