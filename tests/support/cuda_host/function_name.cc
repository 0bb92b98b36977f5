// Names of functions by address, from the symbol table of the program's file:
// dladdr knows exported functions only, and kernels are seldom that.
//
// Tested by tests/cuda/runtime_launches_test.cc.
#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "cuda_host/kernel_registry.h"
#include "cuda_host/runtime_text.h"

namespace cuda_host {
namespace {

// Where the program's file is loaded: the first object that is listed.
uintptr_t LoadAddress() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        *static_cast<uintptr_t*>(result) = info->dlpi_addr;
        return 1;
      },
      &address);
  return address;
}

// Mangled names by address. Empty if the file is not as expected.
std::map<uintptr_t, std::string> ReadSymbols() {
  std::map<uintptr_t, std::string> names;
  std::ifstream in("/proc/self/exe", std::ios::binary | std::ios::ate);
  if (!in) return names;
  std::vector<char> file(in.tellg());
  in.seekg(0);
  in.read(file.data(), file.size());
  ElfW(Ehdr) head;
  if (file.size() < sizeof(head)) return names;
  std::memcpy(&head, file.data(), sizeof(head));
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return names;
  std::vector<ElfW(Shdr)> sections(head.e_shnum);
  const size_t section_bytes = sections.size() * sizeof(ElfW(Shdr));
  if (head.e_shoff > file.size() ||
      section_bytes > file.size() - head.e_shoff) {
    return names;
  }
  std::memcpy(sections.data(), file.data() + head.e_shoff, section_bytes);
  const uintptr_t base = LoadAddress();
  for (const ElfW(Shdr) & section : sections) {
    if (section.sh_type != SHT_SYMTAB) continue;
    const ElfW(Shdr)& text = sections.at(section.sh_link);
    for (size_t at = 0; at + sizeof(ElfW(Sym)) <= section.sh_size;
         at += sizeof(ElfW(Sym))) {
      ElfW(Sym) symbol;
      std::memcpy(&symbol, file.data() + section.sh_offset + at,
                  sizeof(symbol));
      if ((symbol.st_info & 0xF) != STT_FUNC || symbol.st_value == 0) continue;
      names.emplace(base + symbol.st_value,
                    file.data() + text.sh_offset + symbol.st_name);
    }
  }
  return names;
}

std::string Demangle(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  if (text == nullptr) return name;
  const std::string result = text;
  std::free(text);
  return result;
}

}  // namespace

std::string FunctionName(const void* function) {
  static const auto* const names =
      new std::map<uintptr_t, std::string>(ReadSymbols());
  auto it = names->find(reinterpret_cast<uintptr_t>(function));
  return it == names->end() ? Text("kernel at ", function)
                            : Demangle(it->second);
}

}  // namespace cuda_host
