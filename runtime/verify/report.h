// Report: what a verification compared, how far off it was, and how far off it
// may be.
// Threads: plain values.
#ifndef MLA_RUNTIME_VERIFY_REPORT_H_
#define MLA_RUNTIME_VERIFY_REPORT_H_

#include <algorithm>
#include <string>
#include <vector>

namespace mla::runtime {

struct Check {
  std::string name;
  double error = 0;
  double bound = 0;
  std::string detail;  // where the largest error was, or what was counted

  // A NaN error fails.
  bool passed() const { return error <= bound; }
};

struct Report {
  std::vector<Check> checks;
  std::vector<std::string> notes;  // what else a reader should know

  bool passed() const {
    return std::all_of(checks.begin(), checks.end(),
                       [](const Check& c) { return c.passed(); });
  }
};

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_VERIFY_REPORT_H_
