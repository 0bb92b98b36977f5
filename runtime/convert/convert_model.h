// ConvertModel reads a GQA model and writes a converted one: a Hugging Face
// folder with a safetensors file for each layer, which appears when the layer
// is done. Begun again after an interruption, it goes on behind the last one.
// Memory: as Converter's. Threads: blocking; call from one.
// Errors:  FAILED_PRECONDITION if the folder holds something else; those of
//          reading, calibrating and writing.
#ifndef MLA_RUNTIME_CONVERT_CONVERT_MODEL_H_
#define MLA_RUNTIME_CONVERT_CONVERT_MODEL_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "kernels/dtype.h"
#include "runtime/convert/calibration.h"
#include "runtime/convert/conversion_spec.h"

namespace mla::runtime {

// Raised when the same input and method give other bytes than before.
inline constexpr int kConverterVersion = 2;

struct ConvertProgress {
  int layer = 0;  // done, of...
  int layers = 0;
  bool resumed = false;     // it was there already
  double energy_kept = 0;   // of the layer's keys and values
  double seconds_left = 0;  // about
};

struct ConvertOptions {
  std::string in;   // a Hugging Face folder or a .gguf file
  std::string out;  // a folder
  ConversionSpec spec;
  CalibrationOptions calibration;
  kernels::DType type = kernels::DType::kBF16;  // or kF32: of all weights
  int threads = 0;                              // 0: every usable CPU
  std::function<void(const ConvertProgress&)> progress =
      [](const ConvertProgress&) {};
  // What its user should know of the folder, if anything.
  std::function<void(const std::string&)> warn = [](const std::string&) {};
};

absl::Status ConvertModel(const ConvertOptions& options);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_CONVERT_MODEL_H_
