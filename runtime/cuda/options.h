// What a test may want otherwise than a GPU does.
#ifndef MLA_RUNTIME_CUDA_OPTIONS_H_
#define MLA_RUNTIME_CUDA_OPTIONS_H_

namespace mla::runtime {

struct CudaOptions {
  // Matrices are multiplied with so many rows at once, always: what cuBLASLt
  // adds up in which order may depend on their number. The rest is padding.
  int generated_rows = 64;
  int prompt_rows = 512;
  // Cached rows whose keys and values are built at once for a prompt.
  int built_rows = 2048;
  // That run at once in attention; 0: as many as fit the device.
  int thread_blocks = 0;
  // Record a step's work when its shape comes again, and replay it then.
  bool record = true;
  // Begin a step before the tokens of the one before it have been read.
  bool run_ahead = true;
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CUDA_OPTIONS_H_
