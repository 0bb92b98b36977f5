// The subcommands of mlaserve. Each Add function lives in the file of its name,
// adds one subcommand to `parent` with its flags, and leaves the exit status in
// `exit_code` when the command was the one to run. A new command is a new file,
// a line here, a line in main.cc and a line in server/CMakeLists.txt:
//
//   void AddHealth(CLI::App& parent, int& exit_code) {
//     auto options = std::make_shared<HealthOptions>();  // outlives the parse
//     CLI::App* command = parent.add_subcommand("health", "...");
//     command->add_option("--target", options->target, "...");
//     command->callback([options, &exit_code] { exit_code = Run(*options); });
//   }
#ifndef MLA_SERVER_COMMANDS_COMMANDS_H_
#define MLA_SERVER_COMMANDS_COMMANDS_H_

namespace CLI {
class App;
}

namespace mla::server {

void AddServe(CLI::App& parent, int& exit_code);
void AddConvert(CLI::App& parent, int& exit_code);
void AddGenerate(CLI::App& parent, int& exit_code);
void AddHealth(CLI::App& parent, int& exit_code);
void AddInspect(CLI::App& parent, int& exit_code);
void AddPerplexity(CLI::App& parent, int& exit_code);
void AddVerify(CLI::App& parent, int& exit_code);

// Under `mlaserve bench`.
void AddBenchAttention(CLI::App& parent, int& exit_code);
void AddBenchEngine(CLI::App& parent, int& exit_code);
void AddBenchLoad(CLI::App& parent, int& exit_code);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_COMMANDS_H_
