// Where golden files are, and how to read them. The full set if the environment
// names it (MLA_SHARED_GOLDEN), else the committed subset (MLA_TEST_DATA).
#ifndef MLA_TESTS_SUPPORT_GOLDEN_FILES_H_
#define MLA_TESTS_SUPPORT_GOLDEN_FILES_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mla::testing {

inline std::filesystem::path CommittedGoldenDir() {
  const char* dir = std::getenv("MLA_TEST_DATA");
  EXPECT_NE(dir, nullptr) << "set MLA_TEST_DATA to tests/golden";
  return dir == nullptr ? "" : dir;
}

inline std::filesystem::path GoldenDir() {
  const char* dir = std::getenv("MLA_SHARED_GOLDEN");
  return dir == nullptr || *dir == '\0' ? CommittedGoldenDir()
                                        : std::filesystem::path(dir);
}

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << "cannot open " << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Objects keep the order of their keys: templates print them in it.
inline std::vector<nlohmann::ordered_json> ReadJsonLines(
    const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << "cannot open " << path;
  std::vector<nlohmann::ordered_json> rows;
  for (std::string line; std::getline(file, line);) {
    rows.push_back(nlohmann::ordered_json::parse(line));
  }
  EXPECT_FALSE(rows.empty()) << path << " has no rows";
  return rows;
}

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_GOLDEN_FILES_H_
