// ReportWriter makes the report of a conversion and writes it.
//   before  Create refuses what would fail after an hour of converting, and
//           reads the text to evaluate on
//   during  it is told of layers and warnings
//   after   Write measures both models and writes FILE.html or FILE.md, the
//           figures as FILE.EXT.json and Markdown's picture as FILE.md.svg
// Memory:  as Evaluate's and SampleBoth's, after the conversion has freed its.
// Threads: one at a time.
// Errors:  INVALID_ARGUMENT for another kind of file or too little text; those
//          of measuring and writing, naming files.
#ifndef MLA_SERVER_COMMANDS_REPORT_WRITER_H_
#define MLA_SERVER_COMMANDS_REPORT_WRITER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/convert/convert_model.h"
#include "server/commands/conversion_report.h"

namespace mla::server {

struct ReportOptions {
  std::string file;                   // empty: no report
  std::vector<std::string> evaluate;  // texts; empty: held out of calibration
};

class ReportWriter {
 public:
  static absl::StatusOr<ReportWriter> Create(
      const ReportOptions& options, const runtime::ConvertOptions& convert);

  void OnProgress(const runtime::ConvertProgress& progress);
  void OnWarning(const std::string& warning);

  // The conversion took `time`.
  absl::Status Write(const runtime::ConvertOptions& convert,
                     absl::Duration time);

 private:
  absl::Status MeasureLayers(const runtime::Checkpoint& source,
                             const runtime::Checkpoint& converted);
  absl::Status WriteFiles() const;

  std::string file_;
  bool html_ = false;
  runtime::Windows windows_;
  std::vector<double> energy_kept_;  // by layer
  ConversionReport report_;
};

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_REPORT_WRITER_H_
