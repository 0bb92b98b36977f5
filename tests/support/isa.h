// Runs a kernel test once per instruction set that this machine has.
#ifndef MLA_TESTS_SUPPORT_ISA_H_
#define MLA_TESTS_SUPPORT_ISA_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cpu/isa.h"

namespace mla::testing {

inline std::vector<kernels::Isa> SupportedIsas() {
  std::vector<kernels::Isa> isas;
  for (kernels::Isa isa : kernels::kAllIsas) {
    if (kernels::IsSupported(isa)) isas.push_back(isa);
  }
  return isas;
}

inline std::string IsaTestName(
    const ::testing::TestParamInfo<kernels::Isa>& info) {
  std::string name = kernels::Name(info.param);
  std::erase(name, '-');
  return name;
}

class IsaTest : public ::testing::TestWithParam<kernels::Isa> {};

#define MLA_FOR_EACH_ISA(Fixture)                                              \
  INSTANTIATE_TEST_SUITE_P(Isas, Fixture,                                      \
                           ::testing::ValuesIn(mla::testing::SupportedIsas()), \
                           mla::testing::IsaTestName)

}  // namespace mla::testing

#endif  // MLA_TESTS_SUPPORT_ISA_H_
