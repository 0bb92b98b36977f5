// Tested by tests/runtime/prefix_cache_test.cc.
#include "runtime/prefix_cache.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <memory>
#include <random>

namespace mla::runtime {
namespace {

struct FreeMac {
  void operator()(EVP_MAC* m) const { EVP_MAC_free(m); }
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
};

}  // namespace

PrefixCache::PrefixCache() {
  if (RAND_bytes(secret_.data(), secret_.size()) == 1) return;
  std::random_device device;
  for (unsigned char& byte : secret_) byte = device();
}

std::vector<PrefixCache::Key> PrefixCache::Keys(
    absl::Span<const int32_t> prompt, int block_tokens,
    uint64_t variant) const {
  const std::unique_ptr<EVP_MAC, FreeMac> mac(
      EVP_MAC_fetch(nullptr, "SIPHASH", nullptr));
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(
      mac == nullptr ? nullptr : EVP_MAC_CTX_new(mac.get()));
  if (context == nullptr) return {};
  size_t key_bytes = sizeof(Key);
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &key_bytes),
      OSSL_PARAM_construct_end()};

  std::vector<Key> keys;
  Key parent = {variant, 0};
  for (size_t first = 0; first + block_tokens <= prompt.size();
       first += block_tokens) {
    Key key;
    size_t written = 0;
    const bool ok =
        EVP_MAC_init(context.get(), secret_.data(), secret_.size(), params) &&
        EVP_MAC_update(context.get(),
                       reinterpret_cast<const unsigned char*>(parent.data()),
                       sizeof(Key)) &&
        EVP_MAC_update(
            context.get(),
            reinterpret_cast<const unsigned char*>(prompt.data() + first),
            block_tokens * sizeof(int32_t)) &&
        EVP_MAC_final(context.get(),
                      reinterpret_cast<unsigned char*>(key.data()), &written,
                      sizeof(Key));
    if (!ok || written != sizeof(Key)) return {};  // no key, no sharing
    keys.push_back(key);
    parent = key;
  }
  return keys;
}

std::optional<int32_t> PrefixCache::Find(const Key& key) const {
  const auto it = blocks_.find(key);
  if (it == blocks_.end()) return std::nullopt;
  return it->second;
}

bool PrefixCache::Insert(const Key& key, int32_t block) {
  if (!blocks_.try_emplace(key, block).second) return false;
  keys_[block] = key;
  return true;
}

void PrefixCache::Erase(int32_t block) {
  const auto it = keys_.find(block);
  if (it == keys_.end()) return;
  blocks_.erase(it->second);
  keys_.erase(it);
}

}  // namespace mla::runtime
