#include "node/load_reporter.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "base/metrics_text.h"
#include "node/registration.h"

namespace kdn::node {
namespace {

void Fill(const std::string& text, std::string_view name, v1::Durations& out) {
  for (const std::uint64_t count : MetricBuckets(text, name)) out.add_counts(count);
}

}  // namespace

v1::NodeLoad LoadOf(const std::string& text) {
  v1::NodeLoad load;
  load.set_gets(MetricSum(text, "kdn_node_gets_total", R"(outcome="hit")"));
  load.set_gets_missed(MetricSum(text, "kdn_node_gets_total", R"(outcome="miss")"));
  load.set_gets_failed(MetricSum(text, "kdn_node_gets_total", R"(outcome="error")"));
  load.set_get_bytes(MetricSum(text, "kdn_node_get_bytes_total"));
  load.set_put_pieces(MetricSum(text, "kdn_node_put_pieces_total"));
  load.set_put_bytes(MetricSum(text, "kdn_node_put_bytes_total"));
  load.set_puts_refused(MetricSum(text, "kdn_node_puts_refused_total"));
  load.set_calls_shed(MetricSum(text, "kdn_node_calls_shed_total"));
  load.set_reads_dram(MetricSum(text, "kdn_storage_reads_total", R"(tier="dram")"));
  load.set_reads_disk(MetricSum(text, "kdn_storage_reads_total", R"(tier="disk")"));
  load.set_dirty_bytes(MetricSum(text, "kdn_storage_dirty_bytes"));
  Fill(text, "kdn_node_get_seconds", *load.mutable_get_times());
  Fill(text, "kdn_node_put_piece_seconds", *load.mutable_put_times());
  return load;
}

LoadReporter::LoadReporter(const LoadReporterSetup& setup)
    : setup_(setup), thread_([this] { Run(); }) {}

LoadReporter::~LoadReporter() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    if (calling_) calling_->TryCancel();
  }
  changed_.notify_all();
  thread_.join();
}

void LoadReporter::Run() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto channel =
      grpc::CreateCustomChannel(setup_.coordinator, grpc::InsecureChannelCredentials(), arguments);
  const auto stub = v1::Load::NewStub(channel);
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kInterval, [this] { return stopping_; })) {
    calling_ = std::make_unique<grpc::ClientContext>();
    lock.unlock();
    Report(*stub);
    lock.lock();
  }
}

void LoadReporter::Report(v1::Load::Stub& stub) {
  v1::NodeLoad load = LoadOf(setup_.registry.Render());
  load.set_node_id(static_cast<std::uint32_t>(setup_.state.view()->self));
  if (load.node_id() == 0) return;  // not registered yet
  const auto now = setup_.clock.Now().time_since_epoch();
  load.set_at_us(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
  ShowCredential(setup_.credential, *calling_);
  calling_->set_deadline(std::chrono::system_clock::now() + kInterval);
  v1::ReportResponse response;
  (void)stub.Report(calling_.get(), load, &response);  // the next one has all of it again
}

}  // namespace kdn::node
