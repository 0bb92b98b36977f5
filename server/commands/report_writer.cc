// Tested by tests/e2e/conversion_report_test.py.
#include "server/commands/report_writer.h"

#include <sys/resource.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/cpu_count.h"
#include "runtime/json.h"
#include "runtime/json_fields.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"
#include "runtime/text_model.h"
#include "server/commands/report_page.h"
#include "server/commands/report_picture.h"

namespace mla::server {
namespace {

using kernels::DType;

constexpr int kEvaluationWindows = 16;  // of texts that the user gives

int64_t PeakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

absl::StatusOr<runtime::Windows> ReadWindows(
    const ReportOptions& options, const runtime::ConvertOptions& convert) {
  ASSIGN_OR_RETURN(const runtime::TextModel text,
                   runtime::LoadTextModel(convert.in));
  if (text.tokenizer == nullptr) {
    return absl::FailedPreconditionError(
        "the model has no tokenizer to read a text with");
  }
  runtime::CalibrationOptions from = convert.calibration;
  if (options.evaluate.empty()) {
    from.hold_out = true;
    return runtime::ReadHeldOut(from, text);
  }
  from.files = options.evaluate;
  from.tokens = kEvaluationWindows * from.window_tokens;
  return runtime::ReadCalibration(from, text);
}

// What each layer caches of a token.
std::vector<int64_t> Rows(const runtime::ModelConfig& config) {
  std::vector<int64_t> rows;
  for (const kernels::AttnLayout& layout : config.Layouts()) {
    rows.push_back(layout.row_width);
  }
  return rows;
}

// What ConvertModel noted of what it did.
absl::StatusOr<nlohmann::json> ReadState(const runtime::Checkpoint& converted) {
  ASSIGN_OR_RETURN(const std::string text,
                   converted.ReadText("conversion.json"));
  return runtime::ParseJson(text);
}

}  // namespace

absl::StatusOr<ReportWriter> ReportWriter::Create(
    const ReportOptions& options, const runtime::ConvertOptions& convert) {
  ReportWriter writer;
  writer.file_ = options.file;
  writer.html_ = absl::EndsWith(options.file, ".html");
  if (!writer.html_ && !absl::EndsWith(options.file, ".md")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a report's name must end in .html or .md, not ", options.file));
  }
  ASSIGN_OR_RETURN(writer.windows_, ReadWindows(options, convert));
  if (const auto folder = std::filesystem::path(options.file).parent_path();
      !folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      return absl::FailedPreconditionError(absl::StrCat(
          "cannot create ", folder.string(), ": ", error.message()));
    }
  }
  ConversionReport& report = writer.report_;
  report.source = runtime::ModelName(convert.in);
  report.converted = convert.out;
  report.calibration_files = convert.calibration.files;
  report.window_tokens = convert.calibration.window_tokens;
  report.evaluation_files = options.evaluate;
  return writer;
}

void ReportWriter::OnProgress(const runtime::ConvertProgress& progress) {
  energy_kept_.push_back(progress.energy_kept);
  if (progress.resumed) ++report_.layers_resumed;
}

void ReportWriter::OnWarning(const std::string& warning) {
  report_.warnings.push_back(warning);
}

absl::Status ReportWriter::Write(const runtime::ConvertOptions& convert,
                                 absl::Duration time) {
  report_.seconds = absl::ToDoubleSeconds(time);
  report_.peak_memory_bytes = PeakMemory();
  const int threads =
      convert.threads > 0 ? convert.threads : runtime::UsableCpus();
  {
    ASSIGN_OR_RETURN(const auto source, runtime::Checkpoint::Open(convert.in));
    ASSIGN_OR_RETURN(const auto converted,
                     runtime::Checkpoint::Open(convert.out));
    ASSIGN_OR_RETURN(const nlohmann::json state, ReadState(*converted));
    ASSIGN_OR_RETURN(report_.calibration_windows,
                     runtime::ReadInt(state, "calibration_windows", 0));
    ASSIGN_OR_RETURN(report_.method, runtime::ReadString(state, "method", ""));
    ASSIGN_OR_RETURN(report_.dtype, runtime::ReadString(state, "dtype", ""));
    RETURN_IF_ERROR(MeasureLayers(*source, *converted));
    ASSIGN_OR_RETURN(report_.evaluation,
                     runtime::Evaluate(*source, *converted, windows_, threads));
  }
  runtime::LoadOptions load;
  load.backend.threads = threads;
  load.model.weights_dtype =
      report_.dtype == kernels::Name(DType::kF32) ? DType::kF32 : DType::kBF16;
  ASSIGN_OR_RETURN(report_.samples,
                   runtime::SampleBoth(convert.in, convert.out, load));
  return WriteFiles();
}

absl::Status ReportWriter::MeasureLayers(const runtime::Checkpoint& source,
                                         const runtime::Checkpoint& converted) {
  ASSIGN_OR_RETURN(const runtime::ModelConfig before,
                   runtime::ReadModelConfig(source));
  ASSIGN_OR_RETURN(const runtime::ModelConfig after,
                   runtime::ReadModelConfig(converted));
  const std::vector<int64_t> rows = Rows(after), source_rows = Rows(before);
  if (rows.size() != source_rows.size() || rows.size() != energy_kept_.size()) {
    return absl::InternalError("the models have different numbers of layers");
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const runtime::AttentionConfig& a = after.attention[i];
    report_.layers.push_back({a.kv_lora_rank, a.qk_rope_head_dim, rows[i],
                              source_rows[i], energy_kept_[i]});
  }
  return absl::OkStatus();
}

// The page last: who finds it finds all.
absl::Status ReportWriter::WriteFiles() const {
  const std::string figures =
      ToJson(report_).dump(1, ' ', false,
                           nlohmann::json::error_handler_t::replace) +
      "\n";
  RETURN_IF_ERROR(runtime::WriteFileAtomically(file_ + ".json", figures));
  if (html_) return runtime::WriteFileAtomically(file_, HtmlPage(report_));
  const std::string picture = file_ + ".svg";
  RETURN_IF_ERROR(
      runtime::WriteFileAtomically(picture, LayersPicture(report_.layers)));
  return runtime::WriteFileAtomically(
      file_, MarkdownPage(report_, std::filesystem::path(picture).filename()));
}

}  // namespace mla::server
