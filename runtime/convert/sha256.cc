// Tested by tests/runtime/calibration_test.cc.
#include "runtime/convert/sha256.h"

#include <openssl/evp.h>

#include "absl/strings/escaping.h"

namespace mla::runtime {

std::string Sha256(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  return absl::BytesToHexString(
      std::string(reinterpret_cast<const char*>(digest), size));
}

}  // namespace mla::runtime
