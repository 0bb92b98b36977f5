// How a conversion may choose what keeps its RoPE.
// Threads: plain values; any.
#ifndef MLA_RUNTIME_CONVERT_ROPE_CHOICES_H_
#define MLA_RUNTIME_CONVERT_ROPE_CHOICES_H_

namespace mla::runtime {

// How a group of frequencies becomes components.
enum class Mixing {
  kReal,      // as published: of real and imaginary parts alike
  kComplex,   // with phases; better in groups of one
  kWeighted,  // real, by the scores that queries make of the keys
};

// Which of a KV head's pairs keep turning.
enum class PairChoice {
  k2Norm,    // those with the largest PairNorms
  kHigh,     // the highest frequencies
  kLow,      // the lowest
  kUniform,  // every n-th
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_ROPE_CHOICES_H_
