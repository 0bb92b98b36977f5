// mlaserve convert: a GQA model in, one with a smaller latent cache out.
// Tested by tests/e2e/convert_test.py.
#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "runtime/convert/convert_model.h"
#include "runtime/convert/gguf_export.h"
#include "server/commands/client.h"
#include "server/commands/commands.h"
#include "server/commands/report_writer.h"
#include "server/conversion_flags.h"

namespace mla::server {
namespace {

using kernels::DType;
using runtime::FolderLayout;

struct Flags {
  std::string method = "sequential";
  std::string budget;
  std::string gguf;
  ReportOptions report;
  FolderLayout layout = FolderLayout::kExtended;
};

int Run(runtime::ConvertOptions& options, const Flags& flags) {
  std::string method = flags.method;
  if (!flags.budget.empty()) {
    method += (absl::StrContains(method, ':') ? "," : ":") + flags.budget;
  }
  const std::string& gguf = flags.gguf;
  const ReportOptions& report_options = flags.report;
  const auto spec = runtime::ParseConversionSpec(method);
  if (!spec.ok()) return Fail("convert", spec.status());
  options.spec = *spec;
  options.spec.folder = flags.layout;
  if (!gguf.empty()) {
    if (flags.layout != FolderLayout::kExtended) {
      return Fail("convert", absl::InvalidArgumentError(
                                 "--gguf is for the extended layout"));
    }
    const absl::Status possible = runtime::CheckGgufSource(options.in);
    if (!possible.ok()) return Fail("convert", possible);
  }
  std::optional<ReportWriter> report;
  if (!report_options.file.empty()) {
    auto created = ReportWriter::Create(report_options, options);
    if (!created.ok()) return Fail("convert", created.status());
    report = *std::move(created);
    options.calibration.hold_out = report_options.evaluate.empty();
  }
  const absl::Time start = absl::Now();
  options.warn = [&](const std::string& warning) {
    std::cerr << "warning: " << warning << "\n";
    if (report) report->OnWarning(warning);
  };
  options.progress = [&](const runtime::ConvertProgress& p) {
    if (report) report->OnProgress(p);
    if (p.resumed) {
      std::cerr << absl::StrFormat("layer %d of %d was there already\n",
                                   p.layer, p.layers);
      return;
    }
    std::cerr << absl::StrFormat(
        "layer %d of %d: the latent keeps %.1f %%; %.0f s, about %.0f s left\n",
        p.layer, p.layers, 100 * p.energy_kept,
        absl::ToDoubleSeconds(absl::Now() - start), p.seconds_left);
  };
  absl::Status status = runtime::ConvertModel(options);
  if (status.ok() && !gguf.empty()) {
    status = runtime::WriteGguf(options.out, options.in, gguf);
  }
  if (!status.ok()) return Fail("convert", status);
  std::cout << absl::StrFormat(
      "%s: converted in %.0f s; serve it with "
      "mlaserve serve --model %s\n",
      options.out, absl::ToDoubleSeconds(absl::Now() - start), options.out);
  if (!report) return 0;
  std::cerr << "measuring both models for the report\n";
  const absl::Status written = report->Write(options, absl::Now() - start);
  if (!written.ok()) return Fail("convert", written);
  std::cout << absl::StrFormat("%s: the report; its figures: %s.json\n",
                               report_options.file, report_options.file);
  return 0;
}

}  // namespace

void AddConvert(CLI::App& parent, int& exit_code) {
  const auto options = std::make_shared<runtime::ConvertOptions>();
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "convert",
      "Convert a GQA model to multi-head latent attention, with a smaller "
      "cache. Begun again, it goes on where it was interrupted.");
  command
      ->add_option("--in", options->in,
                   "Hugging Face folder or .gguf file to convert")
      ->required();
  command->add_option("--out", options->out, "Folder to write")->required();
  command->add_option("--method", flags->method, runtime::kConversionSpecHelp)
      ->capture_default_str();
  command->add_option(
      "--budget", flags->budget,
      "ratio=0.3125 (of the source's cache) or bytes-per-token=7200 (bf16): "
      "the same as these fields of --method");
  AddCalibrationFlags(*command, options->calibration);
  command
      ->add_option("--layout", flags->layout,
                   "What the folder looks like: extended (ours, holds every "
                   "conversion) or deepseek_v3 (stock: transformers loads and "
                   "trains it; needs freqfold)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, FolderLayout>{
          {"extended", FolderLayout::kExtended},
          {"deepseek_v3", FolderLayout::kDeepSeekV3}}))
      ->default_str("extended");
  command->add_option(
      "--gguf", flags->gguf,
      "Also write all of it as this one GGUF file, for mlaserve only");
  command
      ->add_option("--dtype", options->type,
                   "Weights to write: bf16 or f32. exact writes bf16 if the "
                   "source is, else f32")
      ->transform(CLI::CheckedTransformer(std::map<std::string, DType>{
          {"bf16", DType::kBF16}, {"f32", DType::kF32}}))
      ->default_str("bf16");
  command
      ->add_option("--threads", options->threads,
                   "CPU threads that compute; 0: every CPU the process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  CLI::Option* page = command->add_option(
      "--report", flags->report.file,
      "Page to write, .html or .md: what the conversion saves and what it "
      "loses; the figures for programs go to FILE.json");
  command
      ->add_option("--evaluate", flags->report.evaluate,
                   "Texts, as for --calibration, that the report measures on "
                   "[windows held out of the calibration text]")
      ->needs(page);
  command->callback(
      [options, flags, &exit_code] { exit_code = Run(*options, *flags); });
}

}  // namespace mla::server
