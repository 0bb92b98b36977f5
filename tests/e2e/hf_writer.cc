// The writers of Hugging Face files, for hf_writer_test.py to run:
//
//   hf_writer tensors SPEC FILE      a safetensors file of SPEC, a JSON list of
//                                    {"name", "type", "shape", "bits"}: floats'
//   hf_writer tokenizer GGUF FOLDER  the folder's tokenizer files
//   hf_writer encode GGUF TEXTS      for each of a JSON list of texts its ids,
//                                    without and with what the tokenizer adds
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/atomic_file.h"
#include "runtime/checkpoint/byte_cursor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/status_macros.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_files.h"

namespace mla::runtime {
namespace {

using nlohmann::json;

absl::StatusOr<json> ReadJson(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return json::parse(AsText(file.bytes()));
}

absl::Status WriteTensors(const std::string& spec, const std::string& path) {
  ASSIGN_OR_RETURN(const json tensors, ReadJson(spec));
  std::vector<TensorSpec> specs;
  for (const json& tensor : tensors) {
    specs.push_back(
        {tensor["name"],
         tensor["type"] == "F32" ? kernels::DType::kF32 : kernels::DType::kBF16,
         tensor["shape"]});
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(path, specs));
  for (const json& tensor : tensors) {
    for (const uint32_t bits : tensor["bits"]) {
      RETURN_IF_ERROR(writer.Append(tensor["name"].get<std::string>(),
                                    {kernels::FloatFromBits(bits)}));
    }
  }
  return writer.Close();
}

absl::Status WriteTokenizer(const GgufMetadata& metadata,
                            const std::string& folder) {
  ASSIGN_OR_RETURN(const TokenizerFiles files,
                   TokenizerFilesFromGguf(metadata));
  std::cout << files.warning;
  const auto write = [&](const char* name, const std::string& text) {
    return WriteFileAtomically(absl::StrCat(folder, "/", name), text);
  };
  RETURN_IF_ERROR(write("tokenizer.json", files.tokenizer_json));
  RETURN_IF_ERROR(write("tokenizer_config.json", files.tokenizer_config_json));
  return write("generation_config.json", files.generation_config_json);
}

absl::Status PrintIds(const GgufMetadata& metadata, const std::string& texts) {
  ASSIGN_OR_RETURN(const GgufVocab vocab, ReadGgufVocab(metadata));
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromGguf(vocab));
  ASSIGN_OR_RETURN(const json list, ReadJson(texts));
  json all = json::array();
  for (const std::string text : list) {
    ASSIGN_OR_RETURN(const auto bare, tokenizer->Encode(text, {false, true}));
    ASSIGN_OR_RETURN(const auto whole, tokenizer->Encode(text, {true, true}));
    all.push_back({bare, whole});
  }
  std::cout << all;
  return absl::OkStatus();
}

absl::Status Run(const std::string& command, const std::string& from,
                 const std::string& to) {
  if (command == "tensors") return WriteTensors(from, to);
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(from));
  ASSIGN_OR_RETURN(const GgufFile gguf, ParseGguf(file.bytes()));
  return command == "encode" ? PrintIds(gguf.metadata, to)
                             : WriteTokenizer(gguf.metadata, to);
}

}  // namespace
}  // namespace mla::runtime

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const absl::Status status = mla::runtime::Run(argv[1], argv[2], argv[3]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
