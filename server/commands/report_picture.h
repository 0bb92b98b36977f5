// The picture of a report: what each layer caches, and what energy that keeps.
// Threads: any.
#ifndef MLA_SERVER_COMMANDS_REPORT_PICTURE_H_
#define MLA_SERVER_COMMANDS_REPORT_PICTURE_H_

#include <string>
#include <vector>

#include "server/commands/conversion_report.h"

namespace mla::server {

// An <svg> element that stands in HTML or is a file. It follows the reader's
// light or dark scheme. `layers`: at least one.
std::string LayersPicture(const std::vector<ReportedLayer>& layers);

// The same in a sentence or two, for who cannot see it.
std::string LayersInWords(const std::vector<ReportedLayer>& layers);

}  // namespace mla::server

#endif  // MLA_SERVER_COMMANDS_REPORT_PICTURE_H_
