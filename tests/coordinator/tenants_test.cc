#include "coordinator/tenants.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace kdn::coordinator {
namespace {

class TenantsTest : public testing::Test {
 protected:
  Result<std::vector<Tenant>> Read(const std::string& text) {
    std::ofstream(folder_.File("tenants.toml")) << text;
    return ReadTenants(folder_.File("tenants.toml"));
  }
  void ExpectRefused(const std::string& text, const std::string& line, const std::string& what) {
    const auto tenants = Read(text);
    ASSERT_FALSE(tenants.has_value()) << text;
    EXPECT_EQ(tenants.error().code(), Code::kInvalidArgument);
    const std::string& message = tenants.error().message();
    EXPECT_NE(message.find("tenants.toml:" + line + ":"), std::string::npos) << message;
    EXPECT_NE(message.find(what), std::string::npos) << message;
  }

  test::TempDir folder_;
};

TEST_F(TenantsTest, AreReadInOrderOfTheirIds) {
  const auto tenants = Read(R"([[tenant]]
name = "b"
id = 9
allow_none = true
[[tenant]]
name = "a"
id = 7
access_secret = "000102030405060708090a0b0c0d0e0F"
)");
  ASSERT_TRUE(tenants.has_value()) << tenants.error().ToString();
  ASSERT_EQ(tenants->size(), 2U);
  EXPECT_EQ((*tenants)[0].name, "a");
  EXPECT_EQ((*tenants)[0].id, TenantId{7});
  EXPECT_EQ((*tenants)[0].access_secret.size(), 16U);
  EXPECT_EQ((*tenants)[0].access_secret[15], std::byte{0x0F});
  EXPECT_FALSE((*tenants)[0].allow_none);
  EXPECT_TRUE((*tenants)[1].allow_none);
}

TEST_F(TenantsTest, MayHaveARate) {
  const auto tenants = Read(R"([[tenant]]
name = "a"
id = 7
allow_none = true
requests_per_second = 100
mib_per_second = 3
[[tenant]]
name = "b"
id = 8
allow_none = true
)");
  ASSERT_TRUE(tenants.has_value()) << tenants.error().ToString();
  EXPECT_EQ((*tenants)[0].rate, (TenantRate{100, 3 << 20}));
  EXPECT_EQ((*tenants)[1].rate, TenantRate{});
  ExpectRefused("[[tenant]]\nrequests_per_second = -1\n", "2",
                "requests_per_second = -1: expected");
  ExpectRefused("[[tenant]]\nmib_per_second = 0.5\n", "2", "mib_per_second = 0.5: expected");
}

TEST_F(TenantsTest, ErrorsNameFileLineKeyAndExpectation) {
  ExpectRefused("[[tenant]]\nname = \"a\"\nid = 0\n", "3", "tenant.id = 0: expected");
  ExpectRefused("[[tenant]]\nname = 5\n", "2", "tenant.name = 5: expected");
  ExpectRefused("[[tenant]]\nnmae = \"a\"\n", "2", "tenant.nmae: no such key");
  ExpectRefused("[[tenant]]\nname = \"a\"\nid = 1\n", "1", "access_secret is missing");
  ExpectRefused("[tenants]\n", "1", "expected [[tenant]]");
  ExpectRefused("[[tenant]\n", "1", "");
  ExpectRefused(
      "[[tenant]]\nname=\"a\"\nid=1\nallow_none=true\n"
      "[[tenant]]\nname=\"b\"\nid=1\nallow_none=true\n",
      "5", "of its own");
}

TEST_F(TenantsTest, AnErrorNeverShowsASecret) {
  const auto tenants = Read("[[tenant]]\naccess_secret = \"hunter2\"\n");
  ASSERT_FALSE(tenants.has_value());
  EXPECT_EQ(tenants.error().message().find("hunter2"), std::string::npos);
}

TEST_F(TenantsTest, AMissingFileIsNotFound) {
  EXPECT_EQ(ReadTenants(folder_.File("none")).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace kdn::coordinator
