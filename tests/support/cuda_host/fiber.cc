// Tested by tests/cuda/host_engine_test.cc.
#include "cuda_host/fiber.h"

#include <boost/context/detail/fcontext.hpp>

#include "cuda_host/sanitizers.h"

namespace cuda_host {

namespace context = boost::context::detail;

void Fiber::Prepare(char* stack, size_t stack_bytes, Function function,
                    void* argument) {
  Discard();
  stack_ = stack;
  stack_bytes_ = stack_bytes;
  function_ = function;
  argument_ = argument;
  AsanUnpoison(stack, stack_bytes);  // who had it before did not clean up
  context_ = context::make_fcontext(
      stack + stack_bytes, stack_bytes, [](context::transfer_t from) {
        HiddenFromTsan hidden;
        Fiber* self = static_cast<Fiber*>(from.data);
        self->resumer_ = from.fctx;
        AsanFinishSwitch(nullptr, &self->resumer_stack_,
                         &self->resumer_stack_bytes_);
        self->function_(self->argument_);
        self->Leave(/*for_good=*/true);
      });
  tsan_ = TsanCreateFiber();
}

void Fiber::Resume() {
  resumer_tsan_ = TsanCurrentFiber();
  void* fake_stack = nullptr;
  AsanStartSwitch(&fake_stack, stack_, stack_bytes_);
  TsanSwitch(tsan_);
  const context::transfer_t back = context::jump_fcontext(context_, this);
  AsanFinishSwitch(fake_stack, nullptr, nullptr);
  context_ = back.fctx;
}

void Fiber::Suspend() { Leave(/*for_good=*/false); }

void Fiber::Leave(bool for_good) {
  void* const resumer = resumer_;
  void* const resumer_tsan = resumer_tsan_;
  AsanStartSwitch(for_good ? nullptr : &fake_stack_, resumer_stack_,
                  resumer_stack_bytes_);
  if (for_good) TsanIgnoreEnd();  // its hiding ends nowhere else
  TsanSwitch(resumer_tsan);
  const context::transfer_t from = context::jump_fcontext(resumer, nullptr);
  AsanFinishSwitch(fake_stack_, &resumer_stack_, &resumer_stack_bytes_);
  resumer_ = from.fctx;
}

void Fiber::Discard() {
  if (tsan_ != nullptr) TsanDestroyFiber(tsan_);
  tsan_ = nullptr;
  fake_stack_ = nullptr;
}

}  // namespace cuda_host
