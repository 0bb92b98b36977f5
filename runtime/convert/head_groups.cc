// Tested by tests/runtime/fewer_heads_test.cc.
#include "runtime/convert/head_groups.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace mla::runtime {
namespace {

// Of all energy: what is less is rounding, and could go back and forth.
constexpr double kLeastGain = 1e-12;

using Members = std::vector<int>;

// The squared distance of the heads to their mean.
double ErrorOf(const DoubleMatrix& gram, const Members& members) {
  double own = 0, all = 0;
  for (const int i : members) {
    own += gram(i, i);
    for (const int j : members) all += gram(i, j);
  }
  return members.empty() ? 0 : own - all / static_cast<double>(members.size());
}

Members Union(const Members& a, const Members& b) {
  Members both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

void JoinCheapest(const DoubleMatrix& gram, std::vector<Members>& groups) {
  double least = std::numeric_limits<double>::infinity();
  size_t kept = 0, gone = 1;
  for (size_t a = 0; a < groups.size(); ++a) {
    for (size_t b = a + 1; b < groups.size(); ++b) {
      const double cost = ErrorOf(gram, Union(groups[a], groups[b])) -
                          ErrorOf(gram, groups[a]) - ErrorOf(gram, groups[b]);
      if (cost >= least) continue;
      least = cost;
      kept = a;
      gone = b;
    }
  }
  groups[kept] = Union(groups[kept], groups[gone]);
  groups.erase(groups.begin() + static_cast<int64_t>(gone));
}

Members Without(Members members, int head) {
  members.erase(std::find(members.begin(), members.end(), head));
  return members;
}

// One head to where it fits better; false if none does.
bool MoveOne(const DoubleMatrix& gram, std::vector<Members>& groups) {
  const double enough = kLeastGain * gram.trace();
  for (Members& home : groups) {
    if (home.size() == 1) continue;
    for (const int head : home) {
      const Members rest = Without(home, head);
      const double freed = ErrorOf(gram, home) - ErrorOf(gram, rest);
      for (Members& other : groups) {
        if (&other == &home) continue;
        const Members joined = Union(other, {head});
        const double cost = ErrorOf(gram, joined) - ErrorOf(gram, other);
        if (freed - cost <= enough) continue;
        home = rest;
        other = joined;
        return true;
      }
    }
  }
  return false;
}

}  // namespace

double SharingError(const DoubleMatrix& gram, const HeadGroups& groups) {
  std::vector<Members> members(1 +
                               *std::max_element(groups.begin(), groups.end()));
  for (size_t i = 0; i < groups.size(); ++i) {
    members[groups[i]].push_back(static_cast<int>(i));
  }
  double error = 0;
  for (const Members& group : members) error += ErrorOf(gram, group);
  return error;
}

HeadGroups GroupHeads(const DoubleMatrix& gram, int wanted) {
  std::vector<Members> groups;
  for (int i = 0; i < gram.rows(); ++i) groups.push_back({i});
  while (static_cast<int>(groups.size()) > wanted) JoinCheapest(gram, groups);
  while (MoveOne(gram, groups)) {
  }
  // Numbered by their first heads.
  for (Members& group : groups) std::sort(group.begin(), group.end());
  std::sort(groups.begin(), groups.end());
  HeadGroups numbers(gram.rows());
  for (size_t group = 0; group < groups.size(); ++group) {
    for (const int head : groups[group])
      numbers[head] = static_cast<int>(group);
  }
  return numbers;
}

}  // namespace mla::runtime
