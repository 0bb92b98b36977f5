#include "runtime/mutex.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"

namespace mla::runtime {
namespace {

TEST(Mutex, OnlyOneThreadIsInside) {
  Mutex mu;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        MutexLock lock(&mu);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 4000);
}

TEST(Mutex, AWaitEndsWhenAnUnlockMakesItsConditionTrue) {
  Mutex mu;
  int turn = 0;
  std::thread other([&] {
    for (int i = 1; i < 100; i += 2) {
      MutexLock lock(&mu);
      mu.Await([&] { return turn == i; });
      ++turn;
    }
  });
  for (int i = 0; i < 100; i += 2) {
    MutexLock lock(&mu);
    mu.Await([&] { return turn == i; });
    ++turn;
  }
  other.join();
  EXPECT_EQ(turn, 100);
}

TEST(Mutex, AWaitGivesUpAtItsDeadline) {
  Mutex mu;
  MutexLock lock(&mu);
  const absl::Time start = absl::Now();
  EXPECT_FALSE(
      mu.AwaitUntil([] { return false; }, start + absl::Milliseconds(20)));
  EXPECT_GE(absl::Now(), start + absl::Milliseconds(20));
  EXPECT_FALSE(mu.AwaitUntil([] { return false; }, absl::InfinitePast()));
  EXPECT_TRUE(mu.AwaitUntil([] { return true; }, absl::InfinitePast()));
}

TEST(Notification, WhatPrecedesItIsSeenAndItMayDieAtOnce) {
  for (int i = 0; i < 200; ++i) {
    auto done = std::make_unique<Notification>();
    int value = 0;
    std::thread other([&, notify = done.get()] {
      value = i;
      notify->Notify();
    });
    done->WaitForNotification();
    done.reset();
    EXPECT_EQ(value, i);
    other.join();
  }
}

}  // namespace
}  // namespace mla::runtime
