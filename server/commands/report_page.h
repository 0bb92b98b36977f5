// The pages of a conversion report. Threads: any; pure functions.
#ifndef MLA_SERVER_COMMANDS_REPORT_PAGE_H_
#define MLA_SERVER_COMMANDS_REPORT_PAGE_H_

#include <string>

#include "server/commands/conversion_report.h"

namespace mla::server {

// One file that needs no other, no network and no script.
std::string HtmlPage(const ConversionReport& report);

// `picture`: the name of the picture's file, beside the page.
std::string MarkdownPage(const ConversionReport& report,
                         const std::string& picture);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_REPORT_PAGE_H_
