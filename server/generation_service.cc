// Tested by tests/server/generation_service_test.cc and tests/e2e/.
#include "server/generation_service.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "mla/serving/v1/generation.grpc.pb.h"
#include "runtime/status_macros.h"
#include "server/call_deadline.h"
#include "server/collected_call.h"
#include "server/error_details.h"
#include "server/grpc_status.h"
#include "server/limits.h"
#include "server/no_throw.h"
#include "server/prompt_conversion.h"
#include "server/request_conversion.h"
#include "server/stream_writer.h"
#include "server/wire.h"

namespace mla::server {
namespace {

namespace v1 = serving::v1;
using grpc::ByteBuffer;
using grpc::CallbackServerContext;

// Each method takes the request's bytes: see wire.h.
using Api = v1::GenerationService;
using RawApi = Api::WithRawCallbackMethod_Generate<
    Api::WithRawCallbackMethod_GenerateUnary<
        Api::WithRawCallbackMethod_BatchGenerate<
            Api::WithRawCallbackMethod_Cancel<
                Api::WithRawCallbackMethod_Tokenize<
                    Api::WithRawCallbackMethod_Detokenize<Api::Service>>>>>>;

class GenerationService final : public RawApi {
 public:
  explicit GenerationService(const GenerationContext& context)
      : context_(context) {}

  grpc::ServerWriteReactor<ByteBuffer>* Generate(
      CallbackServerContext* call, const ByteBuffer* bytes) override {
    const auto writer = StreamWriter::Create(context_, *call);
    Schedule(*bytes, [=, this](const absl::Status& room) {
      auto request = NoThrow([&] { return ParseRequest(room, *call, *bytes); });
      if (request.ok()) {
        writer->Begin(*std::move(request));
      } else {
        writer->Refuse(request.status());
      }
    });
    return writer.get();
  }

  grpc::ServerUnaryReactor* GenerateUnary(CallbackServerContext* call,
                                          const ByteBuffer* bytes,
                                          ByteBuffer* response) override {
    const auto collected = CollectedCall::Create(context_, *call, *response);
    Schedule(*bytes, [=, this](const absl::Status& room) {
      auto request = NoThrow([&] { return ParseRequest(room, *call, *bytes); });
      if (request.ok()) {
        collected->Begin({*std::move(request)}, OneResult);
      } else {
        collected->Refuse(request.status());
      }
    });
    return collected.get();
  }

  grpc::ServerUnaryReactor* BatchGenerate(CallbackServerContext* call,
                                          const ByteBuffer* bytes,
                                          ByteBuffer* response) override {
    const auto collected = CollectedCall::Create(context_, *call, *response);
    Schedule(*bytes, [=, this](const absl::Status& room) {
      auto requests = NoThrow([&] { return ParseBatch(room, *call, *bytes); });
      if (requests.ok()) {
        collected->Begin(*std::move(requests), AllResults);
      } else {
        collected->Refuse(requests.status());
      }
    });
    return collected.get();
  }

  grpc::ServerUnaryReactor* Cancel(CallbackServerContext* call,
                                   const ByteBuffer* bytes,
                                   ByteBuffer* response) override {
    return Answer(call, bytes, [=, this]() -> absl::Status {
      v1::CancelRequest in;
      RETURN_IF_ERROR(ParseMessage(*bytes, in));
      RETURN_IF_ERROR(CheckRequestId(in.request_id()));
      if (!context_.engine.Cancel(in.request_id())) {
        return absl::NotFoundError(absl::StrCat("no live request has the id ",
                                                Quoted(in.request_id())));
      }
      *response = SerializeMessage(v1::CancelResponse());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Tokenize(CallbackServerContext* call,
                                     const ByteBuffer* bytes,
                                     ByteBuffer* response) override {
    return Answer(call, bytes, [=, this]() -> absl::Status {
      v1::TokenizeRequest in;
      RETURN_IF_ERROR(ParseMessage(*bytes, in));
      v1::TokenizeResponse out;
      ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                       ConvertTokenize(in, context_.model));
      out.mutable_token_ids()->Add(ids.begin(), ids.end());
      *response = SerializeMessage(out);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Detokenize(CallbackServerContext* call,
                                       const ByteBuffer* bytes,
                                       ByteBuffer* response) override {
    return Answer(call, bytes, [=, this]() -> absl::Status {
      v1::DetokenizeRequest in;
      RETURN_IF_ERROR(ParseMessage(*bytes, in));
      v1::DetokenizeResponse out;
      ASSIGN_OR_RETURN(*out.mutable_text(),
                       ConvertDetokenize(in, context_.model));
      *response = SerializeMessage(out);
      return absl::OkStatus();
    });
  }

 private:
  // Runs `task` here when the request is small, else on a worker. It is told
  // whether there was room for it, and finishes the call either way.
  template <typename Task>
  void Schedule(const ByteBuffer& bytes, Task task) {
    const size_t size = bytes.Length();
    if (size <= kInlineRequestBytes) {
      task(absl::OkStatus());
    } else if (!context_.workers.TrySubmit(
                   size, [task] { task(absl::OkStatus()); })) {
      task(WithRetryDelay(
          WithReason(absl::ResourceExhaustedError(
                         "too many large requests wait to be read"),
                     kQueueFull),
          absl::Seconds(1)));
    }
  }

  // Answers a call that needs no engine. What `function` captures is gRPC's,
  // there until the call is finished.
  template <typename Function>
  grpc::ServerUnaryReactor* Answer(CallbackServerContext* call,
                                   const ByteBuffer* bytes, Function function) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    Schedule(*bytes, [=](const absl::Status& room) {
      const absl::Status status = room.ok() ? NoThrow(function) : room;
      reactor->Finish(ToGrpcStatus(status, *call));
    });
    return reactor;
  }

  static ByteBuffer OneResult(CollectedCall::Results results) {
    return SerializeMessage(results.front());
  }

  static ByteBuffer AllResults(CollectedCall::Results results) {
    v1::BatchGenerateResponse out;
    for (auto& result : results) *out.add_results() = std::move(result);
    return SerializeMessage(out);
  }

  absl::StatusOr<runtime::Request> ParseRequest(
      const absl::Status& room, const CallbackServerContext& call,
      const ByteBuffer& bytes) const {
    RETURN_IF_ERROR(room);
    v1::GenerateRequest in;
    RETURN_IF_ERROR(ParseMessage(bytes, in));
    return Convert(in, CallDeadline(call));
  }

  absl::StatusOr<std::vector<runtime::Request>> ParseBatch(
      const absl::Status& room, const CallbackServerContext& call,
      const ByteBuffer& bytes) const {
    RETURN_IF_ERROR(room);
    v1::BatchGenerateRequest in;
    RETURN_IF_ERROR(ParseMessage(bytes, in));
    const int size = in.requests_size();
    if (size < 1 || size > kMaxBatchRequests) {
      return InvalidField("requests",
                          absl::StrCat("must have 1 to ", kMaxBatchRequests,
                                       " entries, not ", size));
    }
    std::vector<runtime::Request> requests;
    int64_t entries = 0;
    for (int i = 0; i < size; ++i) {
      auto request = Convert(in.requests(i), CallDeadline(call));
      if (!request.ok()) {
        return InField(absl::StrCat("requests[", i, "]"), request.status());
      }
      entries += ResultEntries(*request);
      requests.push_back(*std::move(request));
    }
    if (entries > kMaxResultEntries) {
      return InvalidField(
          "requests",
          absl::StrCat("may together produce ", entries, " entries, more than ",
                       kMaxResultEntries, "; set stop.max_tokens"));
    }
    return requests;
  }

  absl::StatusOr<runtime::Request> Convert(const v1::GenerateRequest& in,
                                           absl::Time deadline) const {
    if (deadline <= absl::Now()) {
      return absl::DeadlineExceededError(
          "the call's deadline had passed when it arrived");
    }
    ASSIGN_OR_RETURN(runtime::Request request,
                     ConvertRequest(in, context_.model,
                                    context_.engine.max_request_tokens()));
    request.deadline = deadline;
    return request;
  }

  const GenerationContext context_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeGenerationService(
    const GenerationContext& context) {
  return std::make_unique<GenerationService>(context);
}

}  // namespace mla::server
