// Part: one of several equal parts of a dimension, as tensor parallelism cuts
// heads and intermediate sizes.
// Threads: a value; any.
#ifndef MLA_RUNTIME_PART_H_
#define MLA_RUNTIME_PART_H_

namespace mla::runtime {

struct Part {
  int index = 0;
  int count = 1;  // 1: the whole

  // Where the part begins, in units of which it has `size`.
  int First(int size) const { return index * size; }
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_PART_H_
