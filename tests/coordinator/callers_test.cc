// Who may call: every method of every gRPC service, without and with the cluster's secret.
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/secret_file.h"
#include "proto/kdn/v1/credential.h"
#include "tests/coordinator/service_world.h"

namespace kdn::coordinator {
namespace {

constexpr std::string_view kSecret = "000102030405060708090a0b0c0d0e0f";

class CallersTest : public ServiceWorld {
 protected:
  CallersTest() {
    coordinator_.reset();
    std::ofstream(folder_.File("cluster.secret")) << kSecret << "\n";
    config_.cluster_secret_file = folder_.File("cluster.secret");
    Restart();
  }

  // What becomes of a call with an empty request.
  grpc::StatusCode Call(const std::string& method, const std::string& credential) {
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    if (!credential.empty()) context.AddMetadata(v1::kCredentialKey, credential);
    const auto call = stub.PrepareCall(&context, method, &queue);
    grpc::Slice nothing;
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto ended = [&](const auto& step) {
      step();
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    (void)ended([&] { call->StartCall(nullptr); });
    (void)ended([&] { call->WriteLast(request, grpc::WriteOptions(), nullptr); });
    // A stream of events or progress says one thing at most before it is given up.
    const bool answered = ended([&] { call->Read(&response, nullptr); });
    if (answered) context.TryCancel();
    (void)ended([&] { call->Finish(&status, nullptr); });
    queue.Shutdown();
    return answered ? grpc::StatusCode::OK : status.error_code();
  }

  static std::vector<std::string> Methods() {
    std::vector<std::string> methods;
    for (const char* file :
         {"kdn/v1/admin.proto", "kdn/v1/contexts.proto", "kdn/v1/directory.proto",
          "kdn/v1/events.proto", "kdn/v1/membership.proto"}) {
      const auto* found = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(file);
      for (int s = 0; s < found->service_count(); ++s) {
        for (int m = 0; m < found->service(s)->method_count(); ++m) {
          methods.push_back("/" + found->service(s)->full_name() + "/" +
                            found->service(s)->method(m)->name());
        }
      }
    }
    return methods;
  }
};

TEST_F(CallersTest, EveryMethodRefusesWhoeverDoesNotShowTheSecret) {
  const std::vector<std::string> methods = Methods();
  EXPECT_GE(methods.size(), 14U);
  const std::string credential = v1::CredentialOf(*ParseSecret(kSecret, "the test's secret"));
  std::string forged = credential;
  forged.back() = forged.back() == '0' ? '1' : '0';
  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    EXPECT_EQ(Call(method, ""), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(Call(method, forged), grpc::StatusCode::UNAUTHENTICATED);
    EXPECT_EQ(Call(method, credential + "0"), grpc::StatusCode::UNAUTHENTICATED);
    if (method == "/kdn.v1.Events/Watch") continue;  // says nothing until something happens
    EXPECT_NE(Call(method, credential), grpc::StatusCode::UNAUTHENTICATED);
  }
}

TEST(Credential, IsTheHmacOfItsLabelAndNothingForNoSecret) {
  EXPECT_EQ(v1::CredentialOf(*ParseSecret(kSecret, "the test's secret")),
            "fe2fe6e8815fa9f17f7dd251b0b8b9910912f85154d977bce8f703e2aacec383");
  EXPECT_EQ(v1::CredentialOf({}), "");
}

}  // namespace
}  // namespace kdn::coordinator
