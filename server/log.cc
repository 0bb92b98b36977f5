#include "server/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace mla::server {

spdlog::logger& Log() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto existing = spdlog::get("server");
    return existing ? existing : spdlog::stderr_logger_mt("server");
  }();
  return *logger;
}

void LogToStandardError() {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("runtime"));
}

void InitLogging(spdlog::level::level_enum level) {
  Log();
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n %v",
                      spdlog::pattern_time_type::utc);
  spdlog::set_level(level);
}

}  // namespace mla::server
