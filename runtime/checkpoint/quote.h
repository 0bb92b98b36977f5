// Quote makes a name that came out of a file fit to stand in a message.
#ifndef MLA_RUNTIME_CHECKPOINT_QUOTE_H_
#define MLA_RUNTIME_CHECKPOINT_QUOTE_H_

#include <string>
#include <string_view>

namespace mla::runtime {

// 'name', with control and non-ASCII bytes escaped and a long tail cut off.
std::string Quote(std::string_view name);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CHECKPOINT_QUOTE_H_
