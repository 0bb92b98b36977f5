// Tested by tests/runtime/fewer_heads_test.cc.
#include "runtime/convert/head_groups.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace mla::runtime {
namespace {

// Of all energy: what is less is rounding, and could go back and forth.
constexpr double kLeastGain = 1e-12;

int CountOf(const HeadGroups& groups) {
  return 1 + *std::max_element(groups.begin(), groups.end());
}

// As few as possible of the error's terms: `group`'s heads to their mean.
double ErrorOf(const DoubleMatrix& gram, const HeadGroups& groups, int group) {
  double own = 0, all = 0;
  int members = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != group) continue;
    ++members;
    own += gram(i, i);
    for (size_t j = 0; j < groups.size(); ++j) {
      if (groups[j] == group) all += gram(i, j);
    }
  }
  return members == 0 ? 0 : own - all / members;
}

// The last group takes the number that `gone` had.
void Join(int kept, int gone, HeadGroups& groups) {
  const int last = CountOf(groups) - 1;
  for (int& group : groups) {
    if (group == gone) {
      group = kept;
    } else if (group == last) {
      group = gone;
    }
  }
}

void JoinCheapest(const DoubleMatrix& gram, HeadGroups& groups) {
  const int count = CountOf(groups);
  double least = std::numeric_limits<double>::infinity();
  HeadGroups best;
  for (int a = 0; a < count; ++a) {
    for (int b = a + 1; b < count; ++b) {
      HeadGroups joined = groups;
      std::replace(joined.begin(), joined.end(), b, a);
      const double cost = ErrorOf(gram, joined, a) - ErrorOf(gram, groups, a) -
                          ErrorOf(gram, groups, b);
      if (cost >= least) continue;
      least = cost;
      best = groups;
      Join(a, b, best);
    }
  }
  groups = std::move(best);
}

// One head to where it fits better; false if none does.
bool MoveOne(const DoubleMatrix& gram, HeadGroups& groups) {
  const int count = CountOf(groups);
  const double enough = SharingError(gram, groups) - kLeastGain * gram.trace();
  for (int& group : groups) {
    const int home = group;
    if (std::count(groups.begin(), groups.end(), home) == 1) continue;
    for (int other = 0; other < count; ++other) {
      group = other;
      if (SharingError(gram, groups) < enough) return true;
    }
    group = home;
  }
  return false;
}

}  // namespace

double SharingError(const DoubleMatrix& gram, const HeadGroups& groups) {
  double error = 0;
  for (int group = 0; group < CountOf(groups); ++group) {
    error += ErrorOf(gram, groups, group);
  }
  return error;
}

HeadGroups GroupHeads(const DoubleMatrix& gram, int wanted) {
  HeadGroups groups(gram.rows());
  std::iota(groups.begin(), groups.end(), 0);
  while (CountOf(groups) > wanted) JoinCheapest(gram, groups);
  while (MoveOne(gram, groups)) {
  }
  // Numbered by their first heads.
  HeadGroups numbers(groups.size(), -1);
  int next = 0;
  for (int& group : groups) {
    if (numbers[group] < 0) numbers[group] = next++;
    group = numbers[group];
  }
  return groups;
}

}  // namespace mla::runtime
