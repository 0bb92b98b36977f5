// Tested by tests/runtime/conversion_cache_test.cc and
// tests/e2e/serve_convert_test.py.
#include "runtime/convert/conversion_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/convert/sha256.h"
#include "runtime/loaded_model.h"
#include "runtime/status_macros.h"

namespace mla::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

absl::StatusOr<fs::path> CacheFolder(const std::string& wanted) {
  if (!wanted.empty()) return fs::path(wanted);
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  const fs::path own = fs::path("mlaserve") / "converted";
  // A relative one is to be ignored (XDG Base Directory Specification).
  if (const fs::path base = variable("XDG_CACHE_HOME"); base.is_absolute()) {
    return base / own;
  }
  if (const fs::path home = variable("HOME"); home.is_absolute()) {
    return home / ".cache" / own;
  }
  return absl::FailedPreconditionError(
      "neither XDG_CACHE_HOME nor HOME says where to keep converted models");
}

// The files that a model is read from.
absl::StatusOr<std::vector<fs::path>> FilesOf(const fs::path& model) {
  std::error_code error;
  const bool folder = fs::is_directory(model, error);
  const std::string name = model.filename();
  const size_t parts = name.find("-00001-of-");
  if (!folder && parts == name.npos) return std::vector<fs::path>{model};
  std::vector<fs::path> files;
  for (fs::directory_iterator
           i(folder ? model : model.parent_path() / ".", error),
       end;
       !error && i != end; i.increment(error)) {
    const std::string found = i->path().filename();
    if (folder ? absl::EndsWith(found, ".safetensors") ||
                     absl::EndsWith(found, ".json") ||
                     absl::EndsWith(found, ".jinja")
               : absl::StartsWith(found, name.substr(0, parts)) &&
                     absl::EndsWith(found, ".gguf")) {
      files.push_back(i->path());
    }
  }
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("cannot list ", model.string(), ": ", error.message()));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Tells a file from others without reading it whole: by its size, the time it
// was written, and samples, which differ in another training's weights.
absl::StatusOr<ordered_json> Identity(const fs::path& path) {
  constexpr size_t kSamples = 64, kSampleBytes = 4096;
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  std::error_code error;
  const auto written = fs::last_write_time(path, error);
  if (error) return absl::NotFoundError(path.string());
  const std::string_view bytes(
      reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::string samples;
  if (bytes.size() <= kSamples * kSampleBytes) {
    samples = bytes;
  } else {
    for (size_t i = 0; i < kSamples; ++i) {
      const size_t room = bytes.size() - kSampleBytes;
      samples += bytes.substr(room / (kSamples - 1) * i, kSampleBytes);
    }
  }
  return ordered_json{{"name", path.filename().string()},
                      {"size", bytes.size()},
                      {"written", written.time_since_epoch().count()},
                      {"samples", Sha256(samples)}};
}

absl::StatusOr<std::string> DigestOf(const ConvertOptions& options) {
  ordered_json source = ordered_json::array();
  ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesOf(options.in));
  for (const fs::path& file : files) {
    ASSIGN_OR_RETURN(source.emplace_back(), Identity(file));
  }
  ASSIGN_OR_RETURN(const std::string text,
                   CalibrationSha256(options.calibration));
  const ordered_json all = {
      {"converter", kConverterVersion},
      {"source", std::move(source)},
      {"method", options.spec.ToString()},
      {"dtype", kernels::Name(options.type)},
      {"calibration", text},
      {"calibration_tokens", options.calibration.tokens},
      {"window_tokens", options.calibration.window_tokens}};
  return Sha256(
      all.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

// Returns the descriptor that holds the lock until it is closed.
absl::StatusOr<int> Lock(const std::string& path,
                         const std::function<void()>& waiting) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  int result = flock(fd, LOCK_EX | LOCK_NB);
  if (result != 0 && errno == EWOULDBLOCK) {
    waiting();
    do {
      result = flock(fd, LOCK_EX);
    } while (result != 0 && errno == EINTR);
  }
  if (result == 0) return fd;
  const absl::Status status =
      absl::ErrnoToStatus(errno, absl::StrCat("lock ", path));
  close(fd);
  return status;
}

// Converting writes it last.
bool IsWhole(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / "config.json", error);
}

}  // namespace

absl::StatusOr<std::string> ConvertCached(const ConvertOptions& options,
                                          const ConversionCacheOptions& cache) {
  ASSIGN_OR_RETURN(const fs::path root, CacheFolder(cache.folder));
  ASSIGN_OR_RETURN(const std::string digest, DigestOf(options));
  const fs::path folder =
      root / absl::StrCat(ModelName(options.in), "-", digest.substr(0, 16));
  if (IsWhole(folder)) return folder.string();
  std::error_code error;
  fs::create_directories(root, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot create ", root.string(), ": ", error.message()));
  }
  ASSIGN_OR_RETURN(const int lock,
                   Lock(folder.string() + ".lock", cache.waiting));
  const auto unlock = absl::MakeCleanup([&] { close(lock); });
  if (IsWhole(folder)) return folder.string();
  ConvertOptions into = options;
  into.out = folder;
  RETURN_IF_ERROR(ConvertModel(into));
  return folder.string();
}

}  // namespace mla::runtime
