// Where tests find their data, and whole files in and out of memory.
#ifndef MLA_TESTS_SUPPORT_TEST_FILES_H_
#define MLA_TESTS_SUPPORT_TEST_FILES_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace mla::testing {

// `name` under tests/golden.
inline std::string TestData(const std::string& name) {
  const char* root = std::getenv("MLA_TEST_DATA");
  return std::string(root != nullptr ? root : "tests/golden") + "/" + name;
}

// The folder of the full goldens, empty if there are only the committed ones.
inline std::string SharedGolden() {
  const char* root = std::getenv("MLA_SHARED_GOLDEN");
  return root != nullptr ? root : "";
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << "cannot open " << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream out(path, std::ios::binary);
  out << content;
  EXPECT_TRUE(out.flush()) << "cannot write " << path;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_TEST_FILES_H_
