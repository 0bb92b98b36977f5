#include "server/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace mla::server {
namespace {

TEST(WorkerPool, RunsEveryTaskBeforeItIsGone) {
  std::atomic<int> ran = 0;
  {
    WorkerPool pool(/*threads=*/3, /*max_waiting_bytes=*/5000);
    for (int i = 0; i < 500; ++i) {
      EXPECT_TRUE(pool.TrySubmit(10, [&] { ++ran; }));
    }
  }
  EXPECT_EQ(ran, 500);
}

TEST(WorkerPool, RefusesWhatWouldWaitTooLong) {
  runtime::Notification started;
  runtime::Notification go;
  std::atomic<int> ran = 0;
  {
    WorkerPool pool(/*threads=*/1, /*max_waiting_bytes=*/20);
    EXPECT_TRUE(pool.TrySubmit(10, [&] {
      started.Notify();
      go.WaitForNotification();
      ++ran;
    }));
    started.WaitForNotification();  // the thread is busy, nothing waits
    EXPECT_TRUE(pool.TrySubmit(10, [&] { ++ran; }));
    EXPECT_TRUE(pool.TrySubmit(10, [&] { ++ran; }));
    EXPECT_FALSE(pool.TrySubmit(10, [&] { ++ran; }));
    go.Notify();
  }
  EXPECT_EQ(ran, 3);
}

}  // namespace
}  // namespace mla::server
