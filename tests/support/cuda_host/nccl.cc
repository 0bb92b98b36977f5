// NCCL's all-gather between the devices of this process. A collective is work
// of its rank's stream that is ready when every rank's stream has come to it:
// until then whoever waits for the stream waits, for ever if a rank never
// comes. Held to NCCL's rules: every rank has the same count, and either
// records the call into a graph or does not, as all others; the stream and both
// buffers are of the communicator's device.
//
// Tested by tests/cuda/nccl_standin_test.cc.
#include <nccl.h>

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "cuda_host/runtime_context.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// One rank's call.
struct Gather {
  const float* from = nullptr;
  float* to = nullptr;
  size_t count = 0;
  bool recorded = false;
};

// The n-th collective of all ranks.
struct Round {
  std::vector<std::shared_ptr<const Gather>> calls;  // null: not there yet
  std::vector<float> sent;                           // by all, once all are
  int left = 0;                                      // that have not received
};

struct Ranks {
  explicit Ranks(int count) : size(count), come_to(count), aborted(count) {}
  const int size;
  std::vector<uint64_t> come_to;  // how many rounds each has come to
  std::vector<bool> aborted;
  std::map<uint64_t, Round> rounds;
};

// Whose turn it is, by ticket: asked over and over until all have come.
struct Turn {
  std::shared_ptr<Ranks> ranks;
  int rank;
  std::shared_ptr<const Gather> gather;
};

}  // namespace
}  // namespace cuda_host

struct ncclComm {
  std::shared_ptr<cuda_host::Ranks> ranks;
  int rank = 0;
  int device = 0;
};

namespace cuda_host {
namespace {

// Guarded by the runtime's lock, as all here.
std::set<ncclComm_t>& Comms() {
  static auto* const comms = new std::set<ncclComm_t>;
  return *comms;
}

// All have come: what they send, or what was wrong.
void Send(Ranks& ranks, Round& round) {
  const Gather& first = *round.calls[0];
  for (int r = 0; r < ranks.size; ++r) {
    const Gather& call = *round.calls[r];
    if (call.count != first.count || call.recorded != first.recorded) {
      throw Fault(cudaErrorLaunchFailure,
                  Text("rank ", r, " gathers ", call.count,
                       call.recorded ? " in a graph" : "", ", rank 0 ",
                       first.count, first.recorded ? " in a graph" : ""));
    }
    round.sent.insert(round.sent.end(), call.from, call.from + call.count);
  }
  round.left = ranks.size;
}

Work MakeWork(Context& c, const Turn& turn) {
  // Of one execution, by its ticket: a graph's node has many.
  auto round_of = std::make_shared<std::map<uint64_t, uint64_t>>();
  auto current = std::make_shared<uint64_t>(0);
  Work work;
  work.kind = Work::Kind::kCollective;
  work.name = "ncclAllGather";
  work.ready = [turn, round_of, current](uint64_t ticket) {
    Ranks& ranks = *turn.ranks;
    if (ranks.aborted[turn.rank]) return true;
    const auto [known, is_new] = round_of->try_emplace(ticket, 0);
    if (is_new) {
      known->second = ranks.come_to[turn.rank]++;
      Round& round = ranks.rounds[known->second];
      round.calls.resize(ranks.size);
      round.calls[turn.rank] = turn.gather;
    }
    for (const auto& call : ranks.rounds[known->second].calls) {
      if (call == nullptr) return false;
    }
    *current = ticket;
    return true;
  };
  work.run = [&c, turn, round_of, current] {
    Ranks& ranks = *turn.ranks;
    if (ranks.aborted[turn.rank]) return;
    const auto known = round_of->find(*current);
    Round& round = ranks.rounds[known->second];
    const Gather& call = *turn.gather;
    const size_t bytes = call.count * sizeof(float);
    for (const std::string& wrong :
         {c.memory.Check(call.from, bytes, MemoryKind::kDevice, Moment::kRun),
          c.memory.Check(call.to, bytes * ranks.size, MemoryKind::kDevice,
                         Moment::kRun)}) {
      if (!wrong.empty()) throw Fault(cudaErrorIllegalAddress, wrong);
    }
    if (round.left == 0) Send(ranks, round);
    std::copy(round.sent.begin(), round.sent.end(), call.to);
    if (--round.left == 0) ranks.rounds.erase(known->second);
    round_of->erase(known);
  };
  return work;
}

ncclResult_t Invalid(Context& c, std::string why) {
  c.message = std::move(why);
  return ncclInvalidArgument;
}

bool IsOf(Context& c, const void* p, int device) {
  const Region* region = c.memory.Find(p);
  return region != nullptr && region->kind == MemoryKind::kDevice &&
         region->device == device;
}

ncclResult_t AllGather(Context& c, const void* from, void* to, size_t count,
                       ncclDataType_t type, ncclComm_t comm,
                       cudaStream_t handle) {
  if (Comms().count(comm) == 0) {
    return Invalid(c, "ncclAllGather: the communicator is none");
  }
  CUstream_st* stream = c.Resolve(handle);
  if (stream == nullptr || stream->device != comm->device ||
      CurrentDevice() != comm->device) {
    return Invalid(c, Text("ncclAllGather: the stream or the thread's device "
                           "is not the communicator's, ",
                           comm->device));
  }
  if (type != ncclFloat || !IsOf(c, from, comm->device) ||
      !IsOf(c, to, comm->device)) {
    return Invalid(
        c, Text("ncclAllGather: no floats of device ", comm->device, ": ",
                c.memory.Describe(from), ", ", c.memory.Describe(to)));
  }
  auto gather = std::make_shared<Gather>();
  gather->from = static_cast<const float*>(from);
  gather->to = static_cast<float*>(to);
  gather->count = count;
  gather->recorded = stream->capture != nullptr;
  const cudaError_t code =
      c.Enqueue(handle, MakeWork(c, {comm->ranks, comm->rank, gather}));
  return code == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

// What is on the stream ends.
ncclResult_t Drop(Context& c, ncclComm_t comm, const char* what) {
  if (Comms().erase(comm) == 0) {
    return Invalid(c, Text(what, ": the communicator is none"));
  }
  comm->ranks->aborted[comm->rank] = true;
  delete comm;
  return ncclSuccess;
}

template <typename Body>
ncclResult_t Nccl(const char* name, Body body, Needs needs = Needs::kNothing) {
  Context& c = Context::Get();
  std::lock_guard<std::recursive_mutex> hold(c.lock);
  if (Enter(c, name, needs) != cudaSuccess) return ncclUnhandledCudaError;
  return body(c);
}

}  // namespace
}  // namespace cuda_host

using cuda_host::Comms;
using cuda_host::Context;
using cuda_host::Nccl;
using cuda_host::Text;

extern "C" {

ncclResult_t ncclCommInitAll(ncclComm_t* comm, int ndev, const int* devlist) {
  return Nccl("ncclCommInitAll", [&](Context& c) {
    std::set<int> devices;
    for (int i = 0; i < ndev; ++i) devices.insert(devlist[i]);
    if (ndev < 1 || devices.size() != static_cast<size_t>(ndev) ||
        *devices.begin() < 0 || *devices.rbegin() >= c.settings.devices) {
      return cuda_host::Invalid(c, "ncclCommInitAll: not one rank a device");
    }
    const auto ranks = std::make_shared<cuda_host::Ranks>(ndev);
    for (int i = 0; i < ndev; ++i) {
      comm[i] = new ncclComm{ranks, i, devlist[i]};
      Comms().insert(comm[i]);
    }
    return ncclSuccess;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  return Nccl("ncclCommDestroy", [&](Context& c) {
    return cuda_host::Drop(c, comm, "ncclCommDestroy");
  });
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  return Nccl("ncclCommAbort", [&](Context& c) {
    return cuda_host::Drop(c, comm, "ncclCommAbort");
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* asyncError) {
  return Nccl("ncclCommGetAsyncError", [&](Context& c) {
    if (Comms().count(comm) == 0) {
      return cuda_host::Invalid(c, "ncclCommGetAsyncError: no communicator");
    }
    *asyncError = ncclSuccess;
    return ncclSuccess;
  });
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclInvalidArgument:
      return "invalid argument";
    default:
      return "internal error";
  }
}

ncclResult_t ncclAllGather(const void* sendbuff, void* recvbuff,
                           size_t sendcount, ncclDataType_t datatype,
                           ncclComm_t comm, cudaStream_t stream) {
  return Nccl(
      "ncclAllGather",
      [&](Context& c) {
        return cuda_host::AllGather(c, sendbuff, recvbuff, sendcount, datatype,
                                    comm, stream);
      },
      cuda_host::Needs::kDevice);
}

}  // extern "C"
