// Place: the line of a kernel that called a primitive, for messages.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_PLACE_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_PLACE_H_

#include <string>
#include <string_view>

namespace cuda_host {

struct Place {
  const char* file = "";
  int line = 0;

  // As a default argument: the line that leaves the argument out.
  // (std::source_location is not in clang 14.)
  static constexpr Place Here(const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    return {file, line};
  }

  friend bool operator==(const Place& a, const Place& b) {
    return a.line == b.line &&
           (a.file == b.file || std::string_view(a.file) == b.file);
  }

  std::string Text() const {  // without folders
    const std::string_view path = file;
    return std::string(path.substr(path.rfind('/') + 1)) + ":" +
           std::to_string(line);
  }
};

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_PLACE_H_
