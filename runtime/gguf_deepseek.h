// The keys of GGUF's architecture deepseek2: MLA and DeepSeek's experts.
// llama.cpp writes it for DeepSeek V2, V3 and R1, Kimi K2 and GLM-4.7-Flash,
// in two forms. Since 2025-04 it stores W_UK and W_UV apart, and key_length and
// value_length are those of MQA over the latent; what they were before has
// become key_length_mla and value_length_mla.
// Threads: any. Errors: INVALID_ARGUMENT, NOT_FOUND and UNIMPLEMENTED name the
// key.
#ifndef MLA_RUNTIME_GGUF_DEEPSEEK_H_
#define MLA_RUNTIME_GGUF_DEEPSEEK_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/gguf_fields.h"
#include "runtime/model_config.h"

namespace mla::runtime {

// Fills in attention, ropes and moe; takes the layers that predict further
// tokens off num_layers. The common sizes of `c` must have been read.
absl::Status ReadGgufDeepSeek2(const GgufFields& fields,
                               absl::Span<const float> rope_divisors,
                               ModelConfig& c);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_GGUF_DEEPSEEK_H_
