// Tested by tests/e2e/conversion_report_test.py.
#include "server/commands/report_picture.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/commands/report_text.h"

namespace mla::server {
namespace {

using Layers = std::vector<ReportedLayer>;

// Units: the view box's.
constexpr double kWidth = 880, kHeight = 372;
constexpr double kLeft = 56, kRight = 864;
constexpr double kTop = 62, kMiddle = 208;      // of the upper plot
constexpr double kSecond = 256, kBottom = 332;  // of the lower

// Colours are spelt out twice: not every viewer of SVG knows CSS variables.
constexpr char kStyle[] =
    "<style>\n"
    "svg.cr text{font:12px system-ui,Helvetica,Arial,sans-serif;fill:#52514e}\n"
    "svg.cr .cr-head{font-weight:600;font-size:13px;fill:#0b0b0b}\n"
    "svg.cr .cr-back{fill:#fcfcfb}\n"
    "svg.cr .cr-grid{stroke:#e1e0d9;stroke-width:1}\n"
    "svg.cr .cr-latent{fill:#2a78d6}\n"
    "svg.cr .cr-rope{fill:#eb6834}\n"
    "svg.cr .cr-source{stroke:#52514e;stroke-width:1.5;stroke-dasharray:5 4;"
    "fill:none}\n"
    "svg.cr .cr-energy{stroke:#4a3aa7;stroke-width:2;fill:none}\n"
    "svg.cr .cr-dot{fill:#4a3aa7;stroke:#fcfcfb;stroke-width:1.5}\n"
    "svg.cr .cr-hover{fill:#898781;fill-opacity:0}\n"
    "svg.cr .cr-hover:hover{fill-opacity:.12}\n"
    "@media (prefers-color-scheme:dark){\n"
    "svg.cr text{fill:#c3c2b7}\n"
    "svg.cr .cr-head{fill:#fff}\n"
    "svg.cr .cr-back{fill:#1a1a19}\n"
    "svg.cr .cr-grid{stroke:#383835}\n"
    "svg.cr .cr-latent{fill:#3987e5}\n"
    "svg.cr .cr-rope{fill:#d95926}\n"
    "svg.cr .cr-source{stroke:#c3c2b7}\n"
    "svg.cr .cr-energy{stroke:#9085e9}\n"
    "svg.cr .cr-dot{fill:#9085e9;stroke:#1a1a19}\n"
    "}\n"
    "</style>\n";

// What lies on the latent; all of a row that is no latent counts as one.
int64_t RopeElements(const ReportedLayer& layer) {
  return layer.kv_lora_rank > 0 ? layer.row - layer.kv_lora_rank : 0;
}

// 1, 2 or 5 times a power of ten, so that about `steps` make `range`.
double NiceStep(double range, int steps) {
  const double power = std::pow(10, std::floor(std::log10(range / steps)));
  for (const double factor : {1, 2, 5}) {
    if (power * factor * steps >= range) return power * factor;
  }
  return power * 10;
}

// A value's place between an axis' two ends.
struct Axis {
  double low, high;    // values
  double first, last;  // places
  double At(double value) const {
    return first + (value - low) / (high - low) * (last - first);
  }
};

std::string Text(double x, double y, const char* attributes,
                 const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y,
                         attributes, HtmlText(text));
}

std::string Rect(const char* kind, double x, double y, double width,
                 double height) {
  return absl::StrFormat(
      "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
      "height=\"%.1f\"/>\n",
      kind, x, y, width, std::max(0.0, height));
}

std::string GridLine(double y, const std::string& label) {
  return absl::StrCat(
      absl::StrFormat("<line class=\"cr-grid\" x1=\"%.1f\" y1=\"%.1f\" "
                      "x2=\"%.1f\" y2=\"%.1f\"/>\n",
                      kLeft, y, kRight, y),
      Text(kLeft - 8, y + 4, "text-anchor=\"end\"", label));
}

class Picture {
 public:
  explicit Picture(const Layers& layers)
      : layers_(layers),
        band_((kRight - kLeft) / static_cast<double>(layers.size())) {}

  std::string Draw() {
    svg_ = absl::StrFormat(
        "<svg class=\"cr\" xmlns=\"http://www.w3.org/2000/svg\" "
        "viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
        "aria-labelledby=\"cr-title cr-desc\">\n"
        "<title id=\"cr-title\">What each layer caches and keeps</title>\n"
        "<desc id=\"cr-desc\">%s</desc>\n%s",
        kWidth, kHeight, HtmlText(LayersInWords(layers_)), kStyle);
    svg_ += Rect("cr-back", 0, 0, kWidth, kHeight);
    DrawRows();
    DrawEnergy();
    DrawLayerNumbers();
    DrawHovers();
    return svg_ + "</svg>\n";
  }

 private:
  double Centre(size_t layer) const {
    return kLeft + (static_cast<double>(layer) + 0.5) * band_;
  }

  void DrawRows() {
    int64_t most = 1;
    for (const ReportedLayer& l : layers_) {
      most = std::max({most, l.row, l.source_row});
    }
    const auto top = static_cast<double>(most);
    const Axis y{0, top * 1.04, kMiddle, kTop};
    svg_ += Text(kLeft, 22, "class=\"cr-head\"",
                 "Elements that a token caches, by layer");
    Legend();
    const double step = NiceStep(top, 4);
    for (double value = 0; value <= top; value += step) {
      svg_ += GridLine(y.At(value), absl::StrCat(value));
    }
    const double width = std::clamp(band_ - 2, 1.0, 24.0);
    std::string source;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const ReportedLayer& l = layers_[i];
      const double x = Centre(i) - width / 2;
      const auto row = static_cast<double>(l.row);
      // The rope key lies on the latent, with a gap between them.
      const double latent = y.At(static_cast<double>(l.row - RopeElements(l)));
      svg_ += Rect("cr-latent", x, latent, width, kMiddle - latent);
      svg_ += Rect("cr-rope", x, y.At(row), width, latent - 1.5 - y.At(row));
      const double level = y.At(static_cast<double>(l.source_row));
      absl::StrAppendFormat(&source, "%s%.1f %.1f H%.1f", i == 0 ? "M" : " L",
                            Centre(i) - band_ / 2, level,
                            Centre(i) + band_ / 2);
    }
    absl::StrAppendFormat(&svg_, "<path class=\"cr-source\" d=\"%s\"/>\n",
                          source);
  }

  void Legend() {
    svg_ += Rect("cr-latent", kLeft, 36, 10, 10);
    svg_ += Text(kLeft + 16, 45, "", "latent");
    svg_ += Rect("cr-rope", kLeft + 72, 36, 10, 10);
    svg_ += Text(kLeft + 88, 45, "", "rope key");
    absl::StrAppendFormat(
        &svg_, "<path class=\"cr-source\" d=\"M%.1f 41h24\"/>\n", kLeft + 160);
    svg_ += Text(kLeft + 190, 45, "",
                 absl::StrCat("source model: ", layers_[0].source_row));
  }

  void DrawEnergy() {
    double least = 1;
    for (const ReportedLayer& l : layers_) {
      least = std::min(least, l.energy_kept);
    }
    // Dots, not bars: the axis need not begin at 0.
    const double low = std::clamp(std::floor(least * 20) / 20, 0.0, 0.95);
    const Axis y{low, 1, kBottom, kSecond};
    svg_ += Text(kLeft, kSecond - 14, "class=\"cr-head\"",
                 "Energy of keys and values that the latent keeps");
    for (const double value : {low, (low + 1) / 2, 1.0}) {
      svg_ += GridLine(y.At(value), absl::StrFormat("%.3g %%", 100 * value));
    }
    std::string line, dots;
    for (size_t i = 0; i < layers_.size(); ++i) {
      const double at = y.At(std::clamp(layers_[i].energy_kept, low, 1.0));
      absl::StrAppendFormat(&line, "%s%.1f %.1f", i == 0 ? "M" : " L",
                            Centre(i), at);
      absl::StrAppendFormat(
          &dots,
          "<circle class=\"cr-dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n",
          Centre(i), at, band_ < 12 ? 2.5 : 4.0);
    }
    absl::StrAppend(&svg_, "<path class=\"cr-energy\" d=\"", line, "\"/>\n",
                    dots);
  }

  void DrawLayerNumbers() {
    const auto every = static_cast<size_t>(
        std::max(1.0, NiceStep(static_cast<double>(layers_.size()), 16)));
    for (size_t i = 0; i < layers_.size(); i += every) {
      svg_ += Text(Centre(i), kBottom + 18, "text-anchor=\"middle\"",
                   absl::StrCat(i));
    }
    svg_ += Text((kLeft + kRight) / 2, kBottom + 35, "text-anchor=\"middle\"",
                 "layer");
  }

  void DrawHovers() {
    for (size_t i = 0; i < layers_.size(); ++i) {
      const ReportedLayer& l = layers_[i];
      absl::StrAppendFormat(
          &svg_,
          "<rect class=\"cr-hover\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
          "height=\"%.1f\"><title>layer %d: latent %d + rope %d, source %d "
          "elements; keeps %.2f %%</title></rect>\n",
          Centre(i) - band_ / 2, kTop, band_, kBottom - kTop, i,
          l.row - RopeElements(l), RopeElements(l), l.source_row,
          100 * l.energy_kept);
    }
  }

  const Layers& layers_;
  const double band_;
  std::string svg_;
};

}  // namespace

std::string LayersPicture(const Layers& layers) {
  return Picture(layers).Draw();
}

std::string LayersInWords(const Layers& layers) {
  const auto rows = std::minmax_element(
      layers.begin(), layers.end(),
      [](const auto& a, const auto& b) { return a.row < b.row; });
  const auto energy = std::minmax_element(
      layers.begin(), layers.end(), [](const auto& a, const auto& b) {
        return a.energy_kept < b.energy_kept;
      });
  const int64_t least = rows.first->row, most = rows.second->row;
  return absl::StrFormat(
      "A token caches %s elements in each of %d layers, where the source model "
      "caches %d. The latent keeps between %.1f %% of the energy of keys and "
      "values, in layer %d, and %.1f %%, in layer %d.",
      least == most ? absl::StrCat(least) : absl::StrCat(least, " to ", most),
      layers.size(), layers.front().source_row, 100 * energy.first->energy_kept,
      energy.first - layers.begin(), 100 * energy.second->energy_kept,
      energy.second - layers.begin());
}

}  // namespace mla::server
