#include "server/address.h"

#include <gtest/gtest.h>

namespace mla::server {
namespace {

TEST(ParseHostPort, ReadsNamesIpv4AndIpv6) {
  for (const char* text : {"localhost:0", "127.0.0.1:50051", "[::1]:65535"}) {
    const auto parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->ToString(), text);
  }
  EXPECT_EQ(ParseHostPort("[::1]:80")->host, "::1");
}

TEST(ParseHostPort, RefusesWhatIsNoAddress) {
  for (const char* text : {"", ":", "host", "host:", ":80", "::1:80", "h:-1",
                           "h:65536", "h:80x", "h: 80", "[]:80"}) {
    EXPECT_FALSE(ParseHostPort(text).ok()) << text;
  }
}

TEST(IsLoopback, OnlyThisMachinesAddresses) {
  for (const char* text :
       {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/a"}) {
    EXPECT_TRUE(IsLoopback(text)) << text;
  }
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "nonsense"}) {
    EXPECT_FALSE(IsLoopback(text)) << text;
  }
}

}  // namespace
}  // namespace mla::server
