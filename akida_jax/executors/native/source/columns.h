// Depthwise sums of 64 channels by dot products of four rows (AVX-512 VNNI).
//
// Four rows of a column of pixels lie side by side in each word, so that a dot product adds as many
// taps; packing the sums to bytes brings the channels back into their order.
#ifndef AKIDA_JAX_COLUMNS_H_
#define AKIDA_JAX_COLUMNS_H_

#include <algorithm>

#include "kernels.h"
#include "lanes.h"
#include "vectors.h"

namespace akida_jax {
namespace AKIDA_PATH {

#if defined(AKIDA_AVX512_VNNI)

constexpr int64_t kColumnChannels = 64;
constexpr int64_t kPiece = 16;  // pixels of an output row whose columns are in hand

// A word of each of 64 channels. Of each sixteen, the first vector holds the first four.
struct Column {
  __m512i v[4];
};

inline Column side_by_side(const __m512i (&rows)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
  return {{_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
           _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)}};
}

// What multiplies 64 channels, or the 32 that are left: nothing beyond them.
template <int K>
struct ColumnTaps {
  static constexpr int kWords = (K + 3) / 4;  // of four rows each
  Column weights[kWords][K];
  Column offset;

  ColumnTaps(const Layer& layer, const uint8_t* constants, int64_t first) {
    const int64_t channels = layer.depthwise_channels();
    const int64_t here = std::min(kColumnChannels, channels - first);
    const __mmask32 second = here > 32 ? 0xFFFFFFFF : 0;
    for (int word = 0; word < kWords; ++word)
      for (int dx = 0; dx < K; ++dx) {
        __m512i rows[4];
        for (int i = 0; i < 4; ++i) {
          const int dy = 4 * word + i;
          rows[i] = _mm512_setzero_si512();
          if (dy >= K) continue;
          const uint8_t* from =
              constants + layer.kernel + ((dy * K + dx) * channels + first) * 2;
          const __m256i low = _mm512_cvtepi16_epi8(_mm512_loadu_si512(from));
          const __m256i high = _mm512_cvtepi16_epi8(_mm512_maskz_loadu_epi16(second, from + 64));
          rows[i] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        }
        weights[word][dx] = side_by_side(rows);
      }
    alignas(64) int32_t values[4][16] = {};
    for (int64_t i = 0; i < here; ++i)
      values[i / 4 % 4][i / 16 * 4 + i % 4] =
          read<int16_t>(constants + layer.offset + (first + i) * 2);
    for (int i = 0; i < 4; ++i) offset.v[i] = _mm512_load_si512(values[i]);
  }
};

// Lists the sums of `misfits`, lanes of each vector, that do not fit a byte.
inline Remainder* list_remainders(const Column& sums, const __mmask16 (&misfits)[4], int64_t pixel,
                                  int64_t first, Remainder* list) {
  for (int k = 0; k < 4; ++k) {
    if (!misfits[k]) continue;
    alignas(64) int32_t values[16];
    _mm512_store_si512(values, sums.v[k]);
    for (uint32_t left = misfits[k]; left; left &= left - 1) {
      const int i = __builtin_ctz(left);
      const int32_t raised = values[i];
      const int64_t channel = first + i / 4 * 16 + 4 * k + i % 4;
      *list++ = {static_cast<int32_t>(pixel), static_cast<int16_t>(channel),
                 static_cast<int16_t>(raised < 0 ? raised : raised - 255)};
    }
  }
  return list;
}

// One line of 64 channels, or of those left; K taps each way.
template <int K>
Remainder* column_line(const Layer& layer, const uint8_t* in, const ColumnTaps<K>& taps,
                       uint8_t* out, int64_t pixel, int64_t first, Remainder* list) {
  constexpr int kWords = ColumnTaps<K>::kWords;
  const int64_t in_pixel = layer.channels4(), out_pixel = layer.depthwise_channels();
  const __mmask64 there = out_pixel - first >= kColumnChannels ? ~0ull : 0xFFFFFFFFull;
  Column columns[(kPiece - 1) * 2 + K][kWords];
  for (int64_t x = 0; x < layer.map_columns; x += kPiece) {
    const int64_t count = std::min(kPiece, layer.map_columns - x);
    const uint8_t* from = in + x * layer.stride * in_pixel;
    for (int64_t c = 0; c < (count - 1) * layer.stride + K; ++c, from += in_pixel)
      for (int word = 0; word < kWords; ++word) {
        __m512i rows[4];
        for (int i = 0; i < 4; ++i)
          rows[i] = 4 * word + i < K
                        ? _mm512_loadu_si512(from + (4 * word + i) * layer.row_bytes())
                        : _mm512_setzero_si512();
        columns[c][word] = side_by_side(rows);
      }
    for (int64_t i = 0; i < count; ++i, out += out_pixel) {
      Column sums = taps.offset;
      for (int dx = 0; dx < K; ++dx)
        for (int word = 0; word < kWords; ++word) {
          const Column& column = columns[i * layer.stride + dx][word];
          for (int k = 0; k < 4; ++k)
            sums.v[k] =
                _mm512_dpbusd_epi32(sums.v[k], column.v[k], taps.weights[word][dx].v[k]);
        }
      const __m512i low = _mm512_packs_epi32(sums.v[0], sums.v[1]);
      const __m512i high = _mm512_packs_epi32(sums.v[2], sums.v[3]);
      _mm512_mask_storeu_epi8(out, there, _mm512_packus_epi16(low, high));
      __mmask16 misfits[4];
      for (int k = 0; k < 4; ++k)
        misfits[k] = _mm512_test_epi32_mask(sums.v[k], _mm512_set1_epi32(~255));
      if (misfits[0] | misfits[1] | misfits[2] | misfits[3])
        list = list_remainders(sums, misfits, pixel + x + i, first, list);
    }
  }
  return list;
}

#endif

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_COLUMNS_H_
