// Whether bytes are UTF-8 (RFC 3629: shortest form, no surrogates).
// Threads: any.
#ifndef MLA_SERVER_UTF8_H_
#define MLA_SERVER_UTF8_H_

#include <cstddef>
#include <string_view>

namespace mla::server {

// How many leading bytes are whole, valid characters; text.size() if all are.
size_t ValidUtf8Prefix(std::string_view text);

}  // namespace mla::server

#endif  // MLA_SERVER_UTF8_H_
