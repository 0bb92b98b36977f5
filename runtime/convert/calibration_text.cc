// The file is taken into the program by the assembler, as C++20 has no #embed.
// Tested by tests/runtime/calibration_test.cc.
#include "runtime/convert/calibration_text.h"

asm(R"(
.pushsection .rodata
mla_calibration_text_begin:
.incbin ")" MLA_CALIBRATION_TEXT R"("
mla_calibration_text_end:
.popsection
)");

extern const char kBegin[] asm("mla_calibration_text_begin");
extern const char kEnd[] asm("mla_calibration_text_end");

namespace mla::runtime {

std::string_view BuiltInCalibrationText() {
  return {kBegin, static_cast<size_t>(kEnd - kBegin)};
}

}  // namespace mla::runtime
