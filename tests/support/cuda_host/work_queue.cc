// Work is a graph without cycles: a ticket comes after the one before it in its
// stream, and after what its stream was told to wait for. A wait draws one of
// two habits, as a GPU has both: only what is needed runs, and all else is as
// late as can be; or anything that is ready runs, so that other streams are
// early.
//
// Tested by tests/cuda/runtime_streams_test.cc.
#include "cuda_host/work_queue.h"

#include <algorithm>
#include <utility>

namespace cuda_host {

TicketPtr WorkQueue::Add(Work work, int device, std::vector<TicketPtr> after) {
  auto ticket = std::make_shared<Ticket>();
  ticket->work = std::move(work);
  ticket->device = device;
  ticket->id = next_id_++;
  for (TicketPtr& other : after) {
    if (other == nullptr || other->done) continue;
    other->before.push_back(ticket.get());
    ++ticket->blockers;
    ticket->after.push_back(std::move(other));
  }
  pending_.emplace(ticket->id, ticket);
  if (ticket->blockers == 0) ready_.push_back(ticket.get());
  return ticket;
}

void WorkQueue::MarkNeeded(Ticket* ticket, uint64_t mark) {
  std::vector<Ticket*> todo = {ticket};
  while (!todo.empty()) {
    Ticket* t = todo.back();
    todo.pop_back();
    if (t->mark == mark) continue;
    t->mark = mark;
    for (const TicketPtr& other : t->after) {
      if (!other->done) todo.push_back(other.get());
    }
  }
}

bool WorkQueue::RunOne(uint64_t mark) {
  std::vector<size_t> choices;
  for (size_t i = 0; i < ready_.size(); ++i) {
    Ticket* t = ready_[i];
    if (mark != 0 && t->mark != mark) continue;
    if (!IsReady(*t)) continue;
    choices.push_back(i);
  }
  if (choices.empty()) return false;
  const size_t at = choices[random_() % choices.size()];
  const TicketPtr ticket = pending_.at(ready_[at]->id);
  ready_.erase(ready_.begin() + at);
  IsReady(*ticket);  // and this one it is
  executor_(*ticket);
  if (!ticket->done) Finish(ticket.get());  // else it was abandoned
  return true;
}

void WorkQueue::Finish(Ticket* ticket) {
  ticket->done = true;
  ticket->finished = std::chrono::steady_clock::now();
  ticket->work.run = nullptr;
  ticket->after.clear();
  for (Ticket* next : ticket->before) {
    if (--next->blockers == 0) ready_.push_back(next);
  }
  ticket->before.clear();
  pending_.erase(ticket->id);
}

bool WorkQueue::RunUntil(const TicketPtr& ticket) {
  if (ticket == nullptr || ticket->done) return true;
  uint64_t mark = 0;
  if (random_() % 2 == 0) {
    mark = next_mark_++;
    MarkNeeded(ticket.get(), mark);
  }
  while (!ticket->done && RunOne(mark)) {
  }
  return ticket->done;
}

bool WorkQueue::RunAll(int device) {
  std::vector<TicketPtr> all;
  for (const auto& [id, ticket] : pending_) {
    if (ticket->device == device) all.push_back(ticket);
  }
  std::shuffle(all.begin(), all.end(), random_);
  bool done = true;
  for (const TicketPtr& ticket : all) done = RunUntil(ticket) && done;
  return done;
}

bool WorkQueue::AnyReady() const {
  return std::any_of(ready_.begin(), ready_.end(),
                     [](const Ticket* t) { return IsReady(*t); });
}

void WorkQueue::RunSome() {
  const int most = random_() % 2 == 0 ? 3 : 100;
  for (int n = 1 + random_() % most; n > 0 && RunOne(0); --n) {
  }
}

void WorkQueue::Abandon() {
  for (const auto& [id, ticket] : pending_) {
    ticket->done = true;
    ticket->after.clear();
    ticket->before.clear();
    ticket->work.run = nullptr;
  }
  pending_.clear();
  ready_.clear();
}

void WorkQueue::Abandon(int device) {
  std::vector<TicketPtr> dropped;
  for (const auto& [id, ticket] : pending_) {
    if (ticket->device == device) dropped.push_back(ticket);
  }
  for (const TicketPtr& ticket : dropped) {
    ready_.erase(std::remove(ready_.begin(), ready_.end(), ticket.get()),
                 ready_.end());
  }
  for (const TicketPtr& ticket : dropped) ticket->done = true;
  for (const TicketPtr& ticket : dropped) {
    for (const TicketPtr& other : ticket->after) {
      std::erase(other->before, ticket.get());
    }
    // Other devices' work that came after it may run.
    std::erase_if(ticket->before, [](Ticket* next) { return next->done; });
    Finish(ticket.get());
  }
}

}  // namespace cuda_host
