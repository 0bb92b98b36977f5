#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace mla::kernels {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceOnAKnownThread) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    std::vector<std::atomic<int>> runs(1000);
    pool.Run(1000, [&](int task, int thread) {
      EXPECT_GE(thread, 0);
      EXPECT_LT(thread, threads);
      runs[task].fetch_add(1);
    });
    for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
  }
}

TEST(ThreadPool, WhatTasksWroteIsSeenAfterRun) {
  ThreadPool pool(3);
  std::vector<int> values(64);
  for (int round = 1; round <= 2000; ++round) {
    pool.Run(64, [&](int task, int) { values[task] += task; });
  }
  for (int i = 0; i < 64; ++i) EXPECT_EQ(values[i], 2000 * i);
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> runs = 0;
    pool.Run(8, [&](int, int) { runs.fetch_add(1); });
    EXPECT_EQ(runs.load(), 8);
  }
}

}  // namespace
}  // namespace mla::kernels
