// The daemon as its peers see it: over sockets, with threads, on a disk.
#include <gtest/gtest.h>

#include "proto/wire/context.h"
#include "tests/coordinator/service_world.h"

namespace kdn::coordinator {
namespace {

class ServiceTest : public ServiceWorld {};

TEST_F(ServiceTest, WhatANodeReportsIsFoundByLookup) {
  const auto registered = Register(1, "127.0.0.1:9");
  EXPECT_EQ(registered.node_id(), 1U);
  EXPECT_EQ(registered.epoch(), 1U);
  ASSERT_EQ(registered.tenants_size(), 1);
  EXPECT_EQ(registered.tenants(0).tenant_id(), 7U);
  Report(1, {NumberedKey(1), NumberedKey(2)});
  wire::LookupRequest request;
  request.chains = {{NumberedKey(1), NumberedKey(2), NumberedKey(3)}};
  const auto response = CallFor<wire::LookupResponse>(request);
  EXPECT_EQ(response.chunks.size(), 2U);
  ASSERT_EQ(response.map.nodes.size(), 1U);
  EXPECT_EQ(response.map.nodes[0].shards[0], "127.0.0.1:9");
  request.known_map_version = response.map.version;
  EXPECT_TRUE(CallFor<wire::LookupResponse>(request).map.nodes.empty());
}

TEST_F(ServiceTest, APutGoesFromTicketToVisibleChunk) {
  ObedientNode first(*domain_, coordinator_->cluster());
  ObedientNode second(*domain_, coordinator_->cluster());
  Register(1, first.endpoint());
  Register(2, second.endpoint());
  const auto started = CallFor<wire::PutStartResponse>(CoreWorld::Chain(1, 3));
  ASSERT_EQ(started.grants.size(), 1U);
  EXPECT_EQ(started.grants[0].nodes.size(), 2U);
  const std::vector<ChunkKey> keys{NumberedKey(1), NumberedKey(2), NumberedKey(3)};
  EXPECT_EQ(LookupLength(keys), 0U);
  const auto committed = CallFor<wire::PutCommitResponse>(
      CoreWorld::CommitOf(started.grants[0], keys, started.grants[0].nodes));
  ASSERT_EQ(committed.objects.size(), 3U);
  EXPECT_EQ(committed.objects[0].state, wire::CommitState::kVisible);
  EXPECT_EQ(committed.objects[0].replicas, 2);
  EXPECT_EQ(LookupLength(keys), 3U);
  EXPECT_EQ(first.commits() + second.commits(), 6U);
}

TEST_F(ServiceTest, ACommitToANodeThatIsGoneFailsAndDoesNotHang) {
  Register(1, "127.0.0.1:1");
  const auto started = CallFor<wire::PutStartResponse>(CoreWorld::Chain(1, 1));
  const auto committed = CallFor<wire::PutCommitResponse>(
      CoreWorld::CommitOf(started.grants.at(0), {NumberedKey(1)}, started.grants[0].nodes));
  EXPECT_EQ(committed.objects.at(0).state, wire::CommitState::kFailed);
}

TEST_F(ServiceTest, AForeignTenantIsRefusedAndAnUnknownCallToo) {
  auto refused = domain_->Connect(coordinator_->endpoint(), ClientIdentity(TenantId{8}),
                                  clock_.Now() + std::chrono::seconds(5));
  EXPECT_FALSE(refused.has_value());
  wire::DropObjectsRequest not_for_coordinators;
  EXPECT_EQ(Call(not_for_coordinators).first, Code::kUnimplemented);
}

TEST_F(ServiceTest, AContextOfAClientIsSeenByToolsAndSurvivesARestart) {
  wire::ContextUpdateRequest update;
  update.name = "document";
  update.token_count = 512;
  update.keys = {NumberedKey(1), NumberedKey(2)};
  EXPECT_EQ(Call(update).first, Code::kOk);
  Restart();
  EXPECT_EQ(coordinator_->epoch(), Epoch{2});
  wire::ContextGetRequest get;
  get.name = "document";
  EXPECT_EQ(CallFor<wire::ContextGetResponse>(get).keys, update.keys);
  const auto contexts = v1::Contexts::NewStub(channel_);
  v1::ListContextsRequest list;
  v1::ListContextsResponse listed;
  grpc::ClientContext list_context;
  ASSERT_TRUE(contexts->List(&list_context, list, &listed).ok());
  ASSERT_EQ(listed.contexts_size(), 1);
  EXPECT_EQ(listed.contexts(0).name(), "document");
  EXPECT_EQ(listed.chunk_counts(0), 2U);
  v1::DeleteContextRequest gone;
  gone.set_tenant_id(7);
  gone.set_name("document");
  v1::DeleteContextResponse none;
  grpc::ClientContext delete_context;
  ASSERT_TRUE(contexts->Delete(&delete_context, gone, &none).ok());
  EXPECT_EQ(Call(get).first, Code::kNotFound);
}

TEST_F(ServiceTest, AHeartbeatTellsEpochMapAndWhetherAnInventoryIsWanted) {
  Register(1, "127.0.0.1:9");
  grpc::ClientContext context;
  const auto stub = v1::Membership::NewStub(channel_);
  const auto stream = stub->Heartbeat(&context);
  v1::NodeBeat beat;
  beat.set_node_id(1);
  v1::CoordinatorBeat answer;
  ASSERT_TRUE(stream->Write(beat) && stream->Read(&answer));
  EXPECT_EQ(answer.epoch(), 1U);
  EXPECT_TRUE(answer.want_full_inventory());
  EXPECT_EQ(answer.nodes().nodes_size(), 1);
  EXPECT_EQ(answer.tenants_size(), 1);
  Report(1, {});
  beat.set_known_map_version(answer.nodes().version());
  beat.set_known_tenants_version(answer.tenants_version());
  ASSERT_TRUE(stream->Write(beat) && stream->Read(&answer));
  EXPECT_FALSE(answer.want_full_inventory());
  EXPECT_FALSE(answer.has_nodes());
  EXPECT_EQ(answer.tenants_size(), 0);
  // The stream is open while the coordinator stops, and ends with it.
  coordinator_.reset();
  EXPECT_FALSE(stream->Read(&answer));
  (void)stream->Finish();
}

TEST_F(ServiceTest, AHeartbeatOfANodeThatHasNotRegisteredEndsTheStream) {
  grpc::ClientContext context;
  const auto stub = v1::Membership::NewStub(channel_);
  const auto stream = stub->Heartbeat(&context);
  v1::NodeBeat beat;
  beat.set_node_id(77);
  v1::CoordinatorBeat answer;
  (void)stream->Write(beat);
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, AMalformedInventoryIsRefused) {
  Register(1, "127.0.0.1:9");
  v1::InventoryRequest request;
  request.set_node_id(1);
  request.set_entries("not two hundred and forty bytes");
  v1::InventoryResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(v1::Membership::NewStub(channel_)->Inventory(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, WatchersAreToldWhatIsThereAndWhatComes) {
  Register(1, "127.0.0.1:9");
  Report(1, {NumberedKey(1)});
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_snapshot(true);
  const auto stub = v1::Events::NewStub(channel_);
  const auto stream = stub->Watch(&context, request);
  v1::Event event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::Event::STORED);
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::Event::SNAPSHOT_DONE);
  Report(1, {NumberedKey(2)}, 2, false);
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.kind(), v1::Event::STORED);
  EXPECT_EQ(event.chunk_key(), std::string(AsText(NumberedKey(2).bytes)));
  EXPECT_EQ(event.node_id(), 1U);
  coordinator_.reset();
  EXPECT_FALSE(stream->Read(&event));
  (void)stream->Finish();
}

TEST_F(ServiceTest, VerifyFindsWhatIsCorruptAndTheDirectoryForgetsIt) {
  ObedientNode node(*domain_, coordinator_->cluster());
  Register(1, node.endpoint());
  Report(1, {NumberedKey(1), NumberedKey(2)});
  node.verdict = Code::kDataLoss;
  grpc::ClientContext context;
  const auto stub = v1::Admin::NewStub(channel_);
  const auto stream = stub->Verify(&context, v1::VerifyRequest());
  v1::VerifyProgress progress;
  v1::VerifyProgress last;
  while (stream->Read(&progress)) last = progress;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(last.done());
  EXPECT_EQ(last.objects_total(), 2U);
  EXPECT_EQ(last.objects_corrupt(), 2U);
  EXPECT_EQ(LookupLength({NumberedKey(1)}), 0U);
}

TEST_F(ServiceTest, DropRemovesFromNodesAndDirectoryUnlessItIsADryRun) {
  ObedientNode node(*domain_, coordinator_->cluster());
  Register(1, node.endpoint());
  Report(1, {NumberedKey(1)});
  v1::DropRequest request;
  request.set_tenant_id(7);
  request.add_chunk_keys(std::string(AsText(NumberedKey(1).bytes)));
  for (const bool dry_run : {true, false}) {
    request.set_dry_run(dry_run);
    v1::DropResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(v1::Admin::NewStub(channel_)->Drop(&context, request, &response).ok());
    EXPECT_EQ(response.objects(), 1U);
    EXPECT_EQ(response.bytes(), 4096U);
    EXPECT_EQ(LookupLength({NumberedKey(1)}), dry_run ? 1U : 0U);
    EXPECT_EQ(node.drops(), dry_run ? 0U : 1U);
  }
}

TEST_F(ServiceTest, StatusAndWhereSayWhatThereIs) {
  Register(1, "127.0.0.1:9");
  Report(1, {NumberedKey(1)});
  v1::StatusResponse status;
  grpc::ClientContext status_context;
  ASSERT_TRUE(v1::Admin::NewStub(channel_)->Status(&status_context, {}, &status).ok());
  EXPECT_EQ(status.nodes_alive(), 1U);
  EXPECT_EQ(status.chunks(), 1U);
  EXPECT_TRUE(status.inventories_complete());
  v1::WhereRequest request;
  request.set_tenant_id(7);
  request.add_chunk_keys(std::string(AsText(NumberedKey(1).bytes)));
  request.add_chunk_keys(std::string(AsText(NumberedKey(2).bytes)));
  v1::WhereResponse where;
  grpc::ClientContext where_context;
  ASSERT_TRUE(v1::Directory::NewStub(channel_)->Where(&where_context, request, &where).ok());
  ASSERT_EQ(where.chunks_size(), 2);
  EXPECT_EQ(where.chunks(0).provenance(), "exact");
  EXPECT_EQ(where.chunks(0).parts_present(), 1U);
  ASSERT_EQ(where.chunks(0).replicas_size(), 1);
  EXPECT_EQ(where.chunks(0).replicas(0).disk_levels(0), "exact");
  EXPECT_TRUE(where.chunks(1).put_id().empty());
}

TEST_F(ServiceTest, GrpcOffLoopbackIsRefused) {
  CoordinatorConfig open = config_;
  open.grpc_listen = "0.0.0.0:7701";
  EXPECT_EQ(ValidateConfig(open).code(), Code::kInvalidArgument);
  open.insecure = true;
  EXPECT_EQ(ValidateConfig(open).code(), Code::kInvalidArgument);
  EXPECT_TRUE(ValidateConfig(config_).ok());
}

}  // namespace
}  // namespace kdn::coordinator
