// Text as HTML, SVG and Markdown carry it. What models generate, what files are
// called and what templates write may hold anything; nothing of it becomes
// markup. Threads: any; pure functions.
#ifndef MLA_SERVER_COMMANDS_REPORT_TEXT_H_
#define MLA_SERVER_COMMANDS_REPORT_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace mla::server {

// For element content and quoted attributes, of HTML and of SVG. Ill-formed
// UTF-8 becomes U+FFFD, as do the characters that those may not contain;
// control characters get their visible pictures (U+2400 and on).
std::string HtmlText(std::string_view text);

// For a paragraph or a table's cell, on one line.
std::string MarkdownText(std::string_view text);
// A code block that the text cannot end.
std::string MarkdownCode(std::string_view text);

// "23,040".
std::string Grouped(int64_t number);
// "412.3 MiB".
std::string Bytes(double bytes);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_REPORT_TEXT_H_
