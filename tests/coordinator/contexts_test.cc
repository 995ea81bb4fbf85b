#include "coordinator/core/contexts.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "tests/coordinator/core_world.h"

namespace kdn::coordinator {
namespace {

class ContextsTest : public testing::Test {
 protected:
  static ContextName Name(const std::string& name) { return {kTestTenant, name}; }

  static ContextSuffix Suffix(std::uint32_t first, std::size_t count, std::uint64_t salt = 0) {
    ContextSuffix suffix;
    suffix.first_chunk = first;
    suffix.model = NumberedId<ModelFingerprint>(1);
    for (std::size_t i = 0; i < count; ++i) suffix.keys.push_back(NumberedKey(first + i + salt));
    suffix.token_count = (first + count) * 256;
    return suffix;
  }

  Result<Context> Change(const ContextName& id, ContextChange change) {
    world_.core->ChangeContext(id, std::move(change), world_.NewReply(), world_.actions);
    world_.WriteAll();
    Answer answer = world_.TakeAnswer();
    if (!answer.body) return std::unexpected(answer.body.error());
    return std::get<Context>(*answer.body);
  }
  const Context* Find(const std::string& name) { return world_.core->contexts().Find(Name(name)); }

  CoreWorld world_;
};

TEST_F(ContextsTest, AChangeIsSeenOnceItIsOnDisk) {
  world_.core->ChangeContext(Name("a"), Suffix(0, 3), world_.NewReply(), world_.actions);
  EXPECT_TRUE(world_.actions.answers.empty());
  EXPECT_EQ(Find("a"), nullptr);
  world_.WriteAll();
  EXPECT_TRUE(world_.TakeAnswer().body.has_value());
  ASSERT_NE(Find("a"), nullptr);
  EXPECT_EQ(Find("a")->keys.size(), 3U);
  EXPECT_EQ(Find("a")->revision, 1U);
}

TEST_F(ContextsTest, AContextSurvivesTheCoordinator) {
  const Context before = Change(Name("a"), Suffix(0, 1000)).value();
  world_.Restart();
  ASSERT_NE(Find("a"), nullptr);
  EXPECT_EQ(*Find("a"), before);
}

TEST_F(ContextsTest, ASuffixReplacesTheEndAndWritesOnlyItsPages) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 1000)).has_value());
  world_.core->ChangeContext(Name("a"), Suffix(600, 10, 5000), world_.NewReply(), world_.actions);
  ASSERT_EQ(world_.actions.writes.size(), 1U);
  // Page 2 is rewritten, page 3 deleted, and the record itself.
  EXPECT_EQ(world_.actions.writes[0].batch.operations.size(), 3U);
  world_.WriteAll();
  world_.actions.Clear();
  const Context now = *Find("a");
  EXPECT_EQ(now.keys.size(), 610U);
  EXPECT_EQ(now.keys[599], NumberedKey(599));
  EXPECT_EQ(now.keys[600], NumberedKey(5600));
  EXPECT_EQ(now.revision, 2U);
  world_.Restart();
  EXPECT_EQ(*Find("a"), now);
}

TEST_F(ContextsTest, ASuffixBeyondTheEndOrOfAnotherModelIsRefused) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 3)).has_value());
  EXPECT_EQ(Change(Name("a"), Suffix(4, 1)).error().code(), Code::kOutOfRange);
  ContextSuffix foreign = Suffix(3, 1);
  foreign.model = NumberedId<ModelFingerprint>(2);
  EXPECT_EQ(Change(Name("a"), foreign).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Find("a")->revision, 1U);
}

TEST_F(ContextsTest, KdnsOwnNamesArePinnedAndStayWhatTheyWereFirst) {
  const std::string name = "kdn/profile/1";
  const Context first = Change(Name(name), Suffix(0, 3)).value();
  EXPECT_TRUE(first.policy.pinned);
  EXPECT_EQ(Change(Name(name), Suffix(0, 3)).value(), first);  // the same again
  for (const ContextSuffix& other : {Suffix(0, 3, 50), Suffix(3, 1), Suffix(0, 2), Suffix(1, 1)}) {
    EXPECT_EQ(Change(Name(name), other).error().code(), Code::kAlreadyExists);
  }
  EXPECT_EQ(*Find(name), first);
  // An operator may.
  ContextFields fields;
  fields.keys = true;
  fields.values.model = first.model;
  fields.values.keys = Suffix(0, 3, 50).keys;
  EXPECT_EQ(Change(Name(name), fields).value().keys, fields.values.keys);
  EXPECT_TRUE(Find(name)->policy.pinned);
  EXPECT_TRUE(Change(Name(name), ContextRemoval{}).has_value());
  EXPECT_TRUE(Change(Name(name), Suffix(0, 2)).has_value());
  EXPECT_FALSE(Change(Name("kdn"), Suffix(0, 2)).value().policy.pinned);
}

TEST_F(ContextsTest, AContextHasABound) {
  EXPECT_EQ(Change(Name("a"), Suffix(0, limits::kChunksPerContextMax + 1)).error().code(),
            Code::kOutOfRange);
  EXPECT_TRUE(Change(Name("a"), Suffix(0, limits::kChunksPerContextMax)).has_value());
}

TEST_F(ContextsTest, ARepeatedUpdateWritesNothing) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 3)).has_value());
  world_.core->ChangeContext(Name("a"), Suffix(0, 3), world_.NewReply(), world_.actions);
  EXPECT_TRUE(world_.actions.writes.empty());
  EXPECT_EQ(std::get<Context>(*world_.TakeAnswer().body).revision, 1U);
}

TEST_F(ContextsTest, ChangesOfOneContextHappenOneAfterTheOther) {
  const ReplyId replies[] = {world_.NewReply(), world_.NewReply(), world_.NewReply()};
  world_.core->ChangeContext(Name("a"), Suffix(0, 2), replies[0], world_.actions);
  world_.core->ChangeContext(Name("a"), Suffix(2, 2), replies[1], world_.actions);
  world_.core->ChangeContext(Name("a"), Suffix(4, 2), replies[2], world_.actions);
  EXPECT_EQ(world_.actions.writes.size(), 1U);
  world_.WriteAll();
  ASSERT_EQ(world_.actions.answers.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(world_.actions.answers[i].to, replies[i]);
    EXPECT_TRUE(world_.actions.answers[i].body.has_value());
  }
  EXPECT_EQ(Find("a")->keys.size(), 6U);
}

TEST_F(ContextsTest, AFailedWriteChangesNothingAndTheNextOneRepairsTheDisk) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 600)).has_value());
  // The disk took the write, but said that it failed.
  world_.core->ChangeContext(Name("a"), Suffix(0, 700, 9000), world_.NewReply(), world_.actions);
  const MetaWrite doubtful = world_.actions.writes.at(0);
  world_.actions.Clear();
  ASSERT_TRUE(world_.store.Write(doubtful.batch).ok());
  world_.core->OnWritten(doubtful.id, Status(Code::kUnavailable), world_.now, world_.actions);
  EXPECT_EQ(world_.TakeAnswer().body.error().code(), Code::kUnavailable);
  EXPECT_EQ(Find("a")->keys.size(), 600U);
  const Context after = Change(Name("a"), Suffix(600, 1)).value();
  world_.Restart();
  EXPECT_EQ(*Find("a"), after);
}

TEST_F(ContextsTest, AnOperatorSetsTheFieldsThatAreNamed) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 3)).has_value());
  ContextFields fields;
  fields.values.policy = {Level::kFine, true, 5000, -3, 2};
  fields.level = fields.pinned = fields.ttl = fields.priority = fields.replicas = true;
  const Context set = Change(Name("a"), fields).value();
  EXPECT_EQ(set.policy, fields.values.policy);
  EXPECT_EQ(set.keys.size(), 3U);
  ContextFields only_pin;
  only_pin.pinned = true;
  EXPECT_EQ(Change(Name("a"), only_pin)->policy.priority, -3);
  world_.Restart();
  EXPECT_FALSE(Find("a")->policy.pinned);
  EXPECT_EQ(Find("a")->policy.level, Level::kFine);
}

TEST_F(ContextsTest, AChangeOfAnotherRevisionIsAborted) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 3)).has_value());
  ContextFields fields;
  fields.pinned = true;
  fields.values.policy.pinned = true;
  fields.revision_expected = 2;
  EXPECT_EQ(Change(Name("a"), fields).error().code(), Code::kAborted);
  fields.revision_expected = 1;
  EXPECT_TRUE(Change(Name("a"), fields).has_value());
}

TEST_F(ContextsTest, ARemovedContextIsGoneForGood) {
  ASSERT_TRUE(Change(Name("a"), Suffix(0, 300)).has_value());
  const std::size_t records = world_.store.records.size();
  ASSERT_TRUE(Change(Name("b"), Suffix(0, 300)).has_value());
  ASSERT_TRUE(Change(Name("b"), ContextRemoval{}).has_value());
  EXPECT_EQ(world_.store.records.size(), records);
  EXPECT_EQ(Find("b"), nullptr);
  EXPECT_EQ(Change(Name("b"), ContextRemoval{}).error().code(), Code::kNotFound);
  EXPECT_EQ(world_.core->contexts().count(), 1U);
}

TEST_F(ContextsTest, ANameThatIsNoneIsRefused) {
  for (const std::string& name :
       {std::string(), std::string(257, 'x'), std::string("a\0b", 3), std::string("a\nb")}) {
    EXPECT_EQ(Change(Name(name), Suffix(0, 1)).error().code(), Code::kInvalidArgument);
  }
}

TEST_F(ContextsTest, AListIsInOrderAndOfOneTenantOrAll) {
  for (const char* name : {"b", "ab", "a", "c"}) {
    ASSERT_TRUE(Change(Name(name), Suffix(0, 1)).has_value());
  }
  ASSERT_TRUE(Change({TenantId{8}, "ax"}, Suffix(0, 1)).has_value());
  const auto list = [&](TenantId tenant, const std::string& prefix, const ContextName& after,
                        std::size_t count) {
    std::vector<std::string> names;
    for (const Context* context : world_.core->contexts().List(tenant, prefix, after, count)) {
      names.push_back(context->id.name);
    }
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(list(kTestTenant, "", {kTestTenant, ""}, 10), (Names{"a", "ab", "b", "c"}));
  EXPECT_EQ(list(kTestTenant, "a", {kTestTenant, ""}, 10), (Names{"a", "ab"}));
  EXPECT_EQ(list(kTestTenant, "", {kTestTenant, "ab"}, 1), (Names{"b"}));
  EXPECT_EQ(list(TenantId{}, "a", {TenantId{}, ""}, 10), (Names{"a", "ab", "ax"}));
}

}  // namespace
}  // namespace kdn::coordinator
