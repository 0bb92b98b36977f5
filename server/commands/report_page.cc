// Tested by tests/e2e/conversion_report_test.py.
#include "server/commands/report_page.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/commands/report_picture.h"
#include "server/commands/report_text.h"

namespace mla::server {
namespace {

using Cells = std::vector<std::string>;

// What both pages show, in their own ways.
struct Table {
  std::string title;
  Cells head;  // empty: rows of a name and a value
  std::vector<Cells> rows;
  std::string note;
};

std::string Percent(double share) {
  return absl::StrFormat("%.2f %%", 100 * share);
}

std::string Perplexity(double value) { return absl::StrFormat("%#.4g", value); }
std::string Nats(double value) { return absl::StrFormat("%.4f", value); }

std::string Heading(const ConversionReport& r) {
  return absl::StrCat(r.source, ", converted to a latent cache");
}

std::string Summary(const ConversionReport& r) {
  const runtime::Evaluation& e = r.evaluation;
  return absl::StrFormat(
      "A token caches %s bytes instead of %s (%s). Over %s tokens of text, "
      "perplexity goes from %s to %s, the predictions differ by %s nats a "
      "token, and %s of the likeliest tokens are the same.",
      Grouped(r.bytes_per_token()), Grouped(r.source_bytes_per_token()),
      Percent(r.cache_ratio()), Grouped(e.tokens),
      Perplexity(e.source_perplexity()), Perplexity(e.converted_perplexity()),
      Nats(e.kl), Percent(e.top1_agreement));
}

std::string Calibration(const ConversionReport& r) {
  if (r.calibration_windows == 0) return "none";
  return absl::StrFormat(
      "%d windows of %d tokens from %s", r.calibration_windows, r.window_tokens,
      r.calibration_files.empty() ? "the built-in text"
                                  : absl::StrJoin(r.calibration_files, ", "));
}

Table Making(const ConversionReport& r) {
  Table table{"How it was made", {}, {}, ""};
  table.rows = {
      {"Source", r.source},
      {"Converted model", r.converted},
      {"Method", r.method},
      {"Weights", r.dtype},
      {"Calibration", Calibration(r)},
      {"Time", absl::StrFormat("%.1f s", r.seconds)},
      {"Peak memory", Bytes(static_cast<double>(r.peak_memory_bytes))}};
  if (r.layers_resumed > 0) {
    table.note = absl::StrFormat(
        "%d of %d layers were there already, from an earlier run; time and "
        "memory are this run's.",
        r.layers_resumed, r.layers.size());
  }
  for (const std::string& warning : r.warnings) {
    table.rows.push_back({"Warning", warning});
  }
  return table;
}

Table Cache(const ConversionReport& r) {
  const int64_t before = r.source_bytes_per_token();
  const int64_t after = r.bytes_per_token();
  const std::string context = Grouped(kReportContext);
  const std::string pool = Bytes(static_cast<double>(kReportPoolBytes));
  const std::string less = Percent(r.cache_ratio());
  // As many as fit, before and after, and what their ratio is.
  const auto fit = [&](const std::string& what, int64_t tokens) -> Cells {
    const int64_t a = kReportPoolBytes / (before * tokens);
    const int64_t b = kReportPoolBytes / (after * tokens);
    return {what, Grouped(a), Grouped(b),
            a == 0 ? "" : absl::StrFormat("%.2f times", 1.0 * b / a)};
  };
  return {"The cache",
          {"", "source", "converted", "converted / source"},
          {{"Bytes a token", Grouped(before), Grouped(after), less},
           {absl::StrCat("A sequence of ", context, " tokens"),
            Bytes(static_cast<double>(before * kReportContext)),
            Bytes(static_cast<double>(after * kReportContext)), less},
           fit(absl::StrCat("Tokens in a pool of ", pool), 1),
           fit(absl::StrCat("Sequences of ", context, " tokens in it"),
               kReportContext)},
          "All layers, in bf16."};
}

Table LayerByLayer(const ConversionReport& r) {
  Table table{"Layer by layer",
              {"layer", "kv_lora_rank", "qk_rope_head_dim", "elements",
               "source elements", "energy kept"},
              {},
              ""};
  for (size_t i = 0; i < r.layers.size(); ++i) {
    const ReportedLayer& l = r.layers[i];
    table.rows.push_back({absl::StrCat(i), absl::StrCat(l.kv_lora_rank),
                          absl::StrCat(l.qk_rope_head_dim), absl::StrCat(l.row),
                          absl::StrCat(l.source_row), Percent(l.energy_kept)});
  }
  return table;
}

Table Predictions(const ConversionReport& r) {
  const runtime::Evaluation& e = r.evaluation;
  const std::string text =
      r.evaluation_files.empty()
          ? "the calibration text, that were held out of calibration: the same "
            "kinds of text, so they say little about others"
          : absl::StrJoin(r.evaluation_files, ", ");
  return {"What it predicts",
          {"", "source", "converted"},
          {{"Perplexity", Perplexity(e.source_perplexity()),
            Perplexity(e.converted_perplexity())},
           {"Mean negative log-likelihood, nats a token", Nats(e.source_nll),
            Nats(e.converted_nll)},
           {"Mean KL(source || converted), nats a token", "0", Nats(e.kl)},
           {"Likeliest token is the source's", Percent(1),
            Percent(e.top1_agreement)}},
          absl::StrFormat("%s tokens in %d windows of %s.", Grouped(e.tokens),
                          e.windows, text)};
}

std::string SamplesNote(const runtime::SampleTexts& samples) {
  return absl::StrFormat(
      "The likeliest token after the likeliest, at most %d, %s.",
      samples.max_tokens,
      samples.chat ? "as answers to a user's message, in the model's own chat "
                     "template"
                   : "going on from the prompt; the model has no chat template "
                     "for it");
}

// --- HTML ---

constexpr char kPageStyle[] =
    ":root{color-scheme:light dark;--page:#f9f9f7;--surface:#fcfcfb;"
    "--ink:#0b0b0b;--dim:#52514e;--line:#e1e0d9}\n"
    "@media (prefers-color-scheme:dark){:root{--page:#0d0d0d;"
    "--surface:#1a1a19;--ink:#fff;--dim:#c3c2b7;--line:#383835}}\n"
    "body{margin:0 auto;max-width:60rem;padding:2rem 1rem;"
    "background:var(--page);color:var(--ink);"
    "font:16px/1.5 system-ui,Helvetica,Arial,sans-serif}\n"
    "h1{font-size:1.5rem;overflow-wrap:anywhere}\n"
    "h2{font-size:1.15rem;margin:2.2rem 0 .6rem}\n"
    "p{color:var(--dim)}\n"
    ".tiles{display:grid;gap:.8rem;margin:1.2rem 0;"
    "grid-template-columns:repeat(auto-fit,minmax(12rem,1fr))}\n"
    ".tiles div,figure,.say{background:var(--surface);"
    "border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem}\n"
    ".tiles dt{color:var(--dim);font-size:.85rem}\n"
    ".tiles dd{margin:0;font-size:1.5rem;font-weight:600}\n"
    ".tiles dd+dd{font-size:.85rem;font-weight:400;color:var(--dim)}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th,td{padding:.35rem .8rem .35rem 0;text-align:left;"
    "vertical-align:top;border-bottom:1px solid var(--line)}\n"
    "th{font-weight:500;color:var(--dim)}\n"
    "td{overflow-wrap:anywhere;font-variant-numeric:tabular-nums}\n"
    "figure{margin:0;padding:.6rem}\n"
    "figure svg{display:block;width:100%;height:auto}\n"
    "summary{cursor:pointer;margin:.8rem 0}\n"
    ".both{display:grid;gap:.8rem;margin-bottom:1.6rem;"
    "grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr))}\n"
    ".say h4{margin:0;font-size:.85rem;font-weight:500;color:var(--dim)}\n"
    "h3{font-size:1rem;font-weight:500}\n"
    "pre{margin:.4rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font:14px/1.5 ui-monospace,Menlo,Consolas,monospace}\n";

std::string Element(const char* name, const std::string& text) {
  return absl::StrCat("<", name, ">", HtmlText(text), "</", name, ">");
}

std::string HtmlRows(const Table& table) {
  std::string html = "<div class=\"wide\"><table>\n";
  if (!table.head.empty()) {
    html += "<thead><tr>";
    for (const std::string& cell : table.head) {
      html += cell.empty()
                  ? "<td></td>"
                  : absl::StrCat("<th scope=\"col\">", HtmlText(cell), "</th>");
    }
    html += "</tr></thead>\n";
  }
  html += "<tbody>\n";
  for (const Cells& row : table.rows) {
    absl::StrAppend(&html, "<tr><th scope=\"row\">", HtmlText(row[0]), "</th>");
    for (size_t i = 1; i < row.size(); ++i) html += Element("td", row[i]);
    html += "</tr>\n";
  }
  html += "</tbody></table></div>\n";
  if (!table.note.empty()) html += Element("p", table.note) + "\n";
  return html;
}

std::string HtmlTable(const Table& table) {
  return Element("h2", table.title) + "\n" + HtmlRows(table);
}

std::string Tile(const std::string& name, const std::string& value,
                 const std::string& detail) {
  return absl::StrCat("<div>", Element("dt", name), Element("dd", value),
                      Element("dd", detail), "</div>\n");
}

std::string Tiles(const ConversionReport& r) {
  const runtime::Evaluation& e = r.evaluation;
  return absl::StrCat(
      "<dl class=\"tiles\">\n",
      Tile("Cache", Percent(r.cache_ratio()),
           absl::StrCat(Grouped(r.source_bytes_per_token()), " to ",
                        Grouped(r.bytes_per_token()), " bytes a token")),
      Tile("Perplexity", Perplexity(e.converted_perplexity()),
           absl::StrCat("the source has ", Perplexity(e.source_perplexity()))),
      Tile("KL", Nats(e.kl), "nats a token, from the source"),
      Tile("Same likeliest token", Percent(e.top1_agreement),
           absl::StrCat("of ", Grouped(e.tokens))),
      "</dl>\n");
}

// The first line feed of a <pre> is not part of it.
std::string Says(const char* who, const std::string& text) {
  return absl::StrCat("<div class=\"say\">", Element("h4", who),
                      "<pre dir=\"auto\">\n", HtmlText(text), "</pre></div>\n");
}

std::string HtmlSamples(const runtime::SampleTexts& samples) {
  std::string html = "<h2>What it says</h2>\n";
  html += Element("p", SamplesNote(samples)) + "\n";
  for (const runtime::SampleText& sample : samples.texts) {
    absl::StrAppend(&html, Element("h3", sample.prompt),
                    "\n<div class=\"both\">\n", Says("source", sample.source),
                    Says("converted", sample.converted), "</div>\n");
  }
  return html;
}

// --- Markdown ---

std::string MarkdownRow(const Cells& cells) {
  std::string row = "|";
  for (const std::string& cell : cells) {
    absl::StrAppend(&row, " ", MarkdownText(cell), " |");
  }
  return row + "\n";
}

std::string MarkdownRows(const Table& table) {
  const size_t columns = table.rows[0].size();
  std::string page =
      MarkdownRow(table.head.empty() ? Cells(columns) : table.head);
  page += "|";
  for (size_t i = 0; i < columns; ++i) page += "---|";
  page += "\n";
  for (const Cells& row : table.rows) page += MarkdownRow(row);
  if (!table.note.empty()) {
    absl::StrAppend(&page, "\n", MarkdownText(table.note), "\n");
  }
  return page + "\n";
}

std::string MarkdownTable(const Table& table) {
  return absl::StrCat("## ", MarkdownText(table.title), "\n\n",
                      MarkdownRows(table));
}

// As a link's target: all but a few bytes as %XX.
std::string UrlText(const std::string& name) {
  std::string url;
  for (const char c : name) {
    if (absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_') {
      url += c;
    } else {
      absl::StrAppendFormat(&url, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return url;
}

}  // namespace

std::string HtmlPage(const ConversionReport& report) {
  // The policy says again that there is no script and nothing to fetch.
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
      "'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n",
      Element("title", Heading(report)), "\n<style>\n", kPageStyle,
      "</style>\n</head>\n<body>\n<main>\n", Element("h1", Heading(report)),
      "\n", Element("p", Summary(report)), "\n", Tiles(report),
      HtmlTable(Cache(report)), HtmlTable(Predictions(report)),
      "<h2>Layer by layer</h2>\n<figure>\n", LayersPicture(report.layers),
      "</figure>\n<details><summary>The same in numbers</summary>\n",
      HtmlRows(LayerByLayer(report)), "</details>\n",
      HtmlSamples(report.samples), HtmlTable(Making(report)),
      "</main>\n</body>\n</html>\n");
}

std::string MarkdownPage(const ConversionReport& report,
                         const std::string& picture) {
  std::string page = absl::StrCat(
      "# ", MarkdownText(Heading(report)), "\n\n",
      MarkdownText(Summary(report)), "\n\n", MarkdownTable(Cache(report)),
      MarkdownTable(Predictions(report)), "## Layer by layer\n\n![",
      MarkdownText(LayersInWords(report.layers)), "](", UrlText(picture),
      ")\n\n", MarkdownRows(LayerByLayer(report)), "## What it says\n\n",
      MarkdownText(SamplesNote(report.samples)), "\n\n");
  for (const runtime::SampleText& sample : report.samples.texts) {
    absl::StrAppend(&page, "**Prompt:**\n\n", MarkdownCode(sample.prompt),
                    "\nSource:\n\n", MarkdownCode(sample.source),
                    "\nConverted:\n\n", MarkdownCode(sample.converted), "\n");
  }
  return page + MarkdownTable(Making(report));
}

}  // namespace mla::server
