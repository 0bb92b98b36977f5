// Sha256: a digest in hexadecimal. Threads: any.
#ifndef MLA_RUNTIME_CONVERT_SHA256_H_
#define MLA_RUNTIME_CONVERT_SHA256_H_

#include <string>
#include <string_view>

namespace mla::runtime {

std::string Sha256(std::string_view bytes);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_SHA256_H_
