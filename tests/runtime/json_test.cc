#include "runtime/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mla::runtime {
namespace {

std::string Nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(Json, TextBecomesATree) {
  const auto json = ParseJson(R"( {"a": [1, -2.5, "x", null, true]} )");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->at("a").size(), 5);
  EXPECT_EQ(json->at("a")[1], -2.5);
}

TEST(Json, WhatIsNotJsonIsRefused) {
  for (const char* text :
       {"", "{", "{\"a\":}", "[1,]", "nul", "[1] x", "\"\xff\"", "1e999"}) {
    const auto json = ParseJson(text);
    EXPECT_EQ(json.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Json, NestingIsBounded) {
  EXPECT_TRUE(ParseJson(Nested(100)).ok());
  for (int depth : {102, 1000000}) {
    EXPECT_THAT(ParseJson(Nested(depth)).status().message(),
                ::testing::HasSubstr("deeper than 100"));
    // Neither does an unfinished text get that far down.
    EXPECT_FALSE(ParseJson(std::string(depth, '[')).ok());
  }
}

}  // namespace
}  // namespace mla::runtime
