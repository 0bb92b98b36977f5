// Tested by tests/cuda/primitives_test.cc, and against CuTe's layouts by
// tests/cuda/layout_oracle_test.cc.
#include "cuda_host/fragments.h"

#include <algorithm>
#include <bit>

namespace cuda_host {
namespace {

constexpr int kMatrices = 4;
constexpr int kMatrixRows = 8;
constexpr size_t kRowBytes = 16;
constexpr size_t kBankGroups = 8;  // of a row's four banks

float Low(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float High(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }

}  // namespace

void SpreadMatrices(Lanes<MatrixLane> lanes, bool transposed) {
  for (int m = 0; m < kMatrices; ++m) {
    const auto element = [&](int row, int column) {
      return uint32_t{lanes[m * kMatrixRows + row].row[column]};
    };
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      lanes[lane].out[m] =
          transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                     : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
  }
}

int ExtraWavefronts(Lanes<MatrixLane> lanes) {
  int extra = 0;
  for (int m = 0; m < kMatrices; ++m) {
    int rows_of[kBankGroups] = {};
    for (int i = 0; i < kMatrixRows; ++i) {
      const size_t offset = lanes[m * kMatrixRows + i].offset;
      bool is_new = true;  // rows at one address are read once
      for (int j = 0; j < i; ++j) {
        is_new &= lanes[m * kMatrixRows + j].offset != offset;
      }
      if (is_new) ++rows_of[offset / kRowBytes % kBankGroups];
    }
    extra += *std::max_element(rows_of, rows_of + kBankGroups) - 1;
  }
  return extra;
}

void MultiplyAdd(Lanes<MmaLane> lanes) {
  float a[16][16], b[16][8], d[16][8] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const MmaLane& from = lanes[lane];
    for (int i = 0; i < 4; ++i) {
      const int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
      a[row][column] = Low(from.a[i]);
      a[row][column + 1] = High(from.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      const int row = 2 * t + i * 8;
      b[row][g] = Low(from.b[i]);
      b[row + 1][g] = High(from.b[i]);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) {
        d[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      lanes[lane].d[i] += d[g + i / 2 * 8][2 * t + i % 2];
    }
  }
}

}  // namespace cuda_host
