// HeadGroups: which KV heads share one, by QCQA's weight-sharing error
// (2406.10247): the squared distance of all heads' weights to their group's
// mean. The paper searches by evolution; here pairs of groups are joined where
// that costs least, then heads move between groups while it helps.
// Threads: functions of their arguments; any.
#ifndef MLA_RUNTIME_CONVERT_HEAD_GROUPS_H_
#define MLA_RUNTIME_CONVERT_HEAD_GROUPS_H_

#include <vector>

#include "runtime/convert/linear_algebra.h"

namespace mla::runtime {

using HeadGroups = std::vector<int>;  // a head's group; groups count from 0

// `gram`: [heads, heads], inner products of the heads' weights. `groups`: from
// 1 to that many.
HeadGroups GroupHeads(const DoubleMatrix& gram, int groups);

double SharingError(const DoubleMatrix& gram, const HeadGroups& groups);

}  // namespace mla::runtime

#endif  // MLA_RUNTIME_CONVERT_HEAD_GROUPS_H_
