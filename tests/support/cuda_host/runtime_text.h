// Text joins its arguments to a message, as a stream would print them.
#ifndef MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_TEXT_H_
#define MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_TEXT_H_

#include <sstream>
#include <string>

namespace cuda_host {

template <typename... Parts>
std::string Text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace cuda_host

#endif  // MLA_TESTS_SUPPORT_CUDA_HOST_RUNTIME_TEXT_H_
