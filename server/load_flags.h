// Flags that every command which loads a model has in common.
#ifndef MLA_SERVER_LOAD_FLAGS_H_
#define MLA_SERVER_LOAD_FLAGS_H_

#include "kernels/dtype.h"
#include "runtime/loaded_model.h"

namespace CLI {
class App;
}

namespace mla::server {

// --weights-dtype, --backend, --threads. The options outlive the parse, and
// hold the defaults.
void AddLoadFlags(CLI::App& command, runtime::LoadOptions& options);

// --kv-cache-dtype
void AddKvDtypeFlag(CLI::App& command, kernels::DType& dtype);

}  // namespace mla::server

#endif  // MLA_SERVER_LOAD_FLAGS_H_
