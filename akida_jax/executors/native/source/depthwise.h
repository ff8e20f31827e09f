// Depthwise sums of a separable layer, in 8 bits with exceptions.
//
// A sum of k x k products needs 11 bits and more at worst, but hardly ever in fact. Each sum is
// stored as a byte, raised by an offset of its channel, so that the pointwise kernel works on bytes;
// what does not fit is listed with the remainder, which is multiplied on its own. The result is
// exact however many there are; only the time depends on them.
#ifndef AKIDA_JAX_DEPTHWISE_H_
#define AKIDA_JAX_DEPTHWISE_H_

#include <algorithm>
#include <cstdlib>

#include "columns.h"
#include "kernels.h"
#include "lanes.h"
#include "vectors.h"

namespace akida_jax {
namespace AKIDA_PATH {

#if !defined(AKIDA_AVX512_VNNI)

constexpr int64_t kChannelsAtOnce = kDepthwiseLanes;

// Stores 32 raised sums; returns the place behind the remainders added to the list.
inline Remainder* store_raised(Shorts raised, uint8_t* to, int64_t pixel, int64_t channel,
                               Remainder* list) {
  Shorts fit = raised > 0 ? raised : Shorts{};
  fit = fit < 255 ? fit : Shorts{} + (int16_t)255;
  const ShortBytes bytes = __builtin_convertvector(fit, ShortBytes);
  std::memcpy(to, &bytes, sizeof bytes);
  const Shorts left = raised - fit;
  int64_t words[8];
  std::memcpy(words, &left, sizeof words);
  int64_t any = 0;
  for (int64_t word : words) any |= word;
  if (any)
    for (int i = 0; i < kDepthwiseLanes; ++i)
      if (left[i])
        *list++ = {static_cast<int32_t>(pixel), static_cast<int16_t>(channel + i), left[i]};
  return list;
}

// One line of 32 channels; K taps each way.
template <int K>
Remainder* depthwise_line(const Layer& layer, const uint8_t* in, const Shorts* weights,
                          Shorts offset, uint8_t* out, int64_t pixel, int64_t channel,
                          Remainder* list) {
  Shorts taps[K * K];
  for (int i = 0; i < K * K; ++i) taps[i] = weights[i];
  const int64_t in_pixel = layer.channels4(), out_pixel = layer.depthwise_channels();
  for (int64_t x = 0; x < layer.map_columns; ++x, out += out_pixel) {
    const uint8_t* at = in + x * layer.stride * in_pixel;
    Shorts total = offset;
    for (int dy = 0; dy < K; ++dy)
      for (int dx = 0; dx < K; ++dx) {
        const auto levels = read<ShortBytes>(at + dy * layer.row_bytes() + dx * in_pixel);
        total += __builtin_convertvector(levels, Shorts) * taps[dy * K + dx];
      }
    list = store_raised(total, out, pixel + x, channel, list);
  }
  return list;
}

// All lines of an item for some channels.
template <int K>
Remainder* depthwise_channels(const Layer& layer, const uint8_t* constants, const Item& item,
                              const uint8_t* in, int64_t first, uint8_t* out, Remainder* list) {
  const int64_t channels = layer.depthwise_channels();
  Shorts taps[K * K];
  for (int i = 0; i < K * K; ++i)
    taps[i] = read<Shorts>(constants + layer.kernel + (i * channels + first) * 2);
  const Shorts offset = read<Shorts>(constants + layer.offset + first * 2);
  for (int64_t row = item.first_map_row, pixel = 0; row < item.end_map_row; ++row) {
    const uint8_t* from = in + row * layer.stride * layer.row_bytes() + first;
    list = depthwise_line<K>(layer, from, taps, offset, out + pixel * channels + first, pixel,
                             first, list);
    pixel += layer.map_columns;
  }
  return list;
}

#else

constexpr int64_t kChannelsAtOnce = kColumnChannels;

template <int K>
Remainder* depthwise_channels(const Layer& layer, const uint8_t* constants, const Item& item,
                              const uint8_t* in, int64_t first, uint8_t* out, Remainder* list) {
  const ColumnTaps<K> taps(layer, constants, first);
  for (int64_t row = item.first_map_row, pixel = 0; row < item.end_map_row; ++row) {
    const uint8_t* from = in + row * layer.stride * layer.row_bytes() + first;
    uint8_t* to = out + pixel * layer.depthwise_channels() + first;
    list = column_line<K>(layer, from, taps, to, pixel, first, list);
    pixel += layer.map_columns;
  }
  return list;
}

#endif

// Returns how many remainders there are.
inline int64_t convolve_depthwise(const Layer& layer, const uint8_t* constants, const Item& item,
                                  const uint8_t* in, const Scratch& scratch) {
  const auto some = layer.kernel_rows == 3   ? depthwise_channels<3>
                    : layer.kernel_rows == 5 ? depthwise_channels<5>
                                             : depthwise_channels<7>;
  Remainder* list = scratch.remainders;
  for (int64_t first = 0; first < layer.depthwise_channels(); first += kChannelsAtOnce)
    list = some(layer, constants, item, in, first, scratch.depthwise, list);
  return list - scratch.remainders;
}

// Adds the products of the remainders to sums [pixels][blocks][16].
template <int B>
void add_remainders(const Remainder* list, int64_t count, const uint8_t* weights,
                    int64_t block_bytes, int32_t* sums) {
  for (const Remainder* r = list; r != list + count; ++r) {
    // A word of one level at a time, as much of the magnitude as a byte holds.
    for (int32_t left = std::abs(r->value); left > 0; left -= 255) {
      const uint32_t level = static_cast<uint32_t>(std::min(left, 255));
      const Words x = spread(static_cast<int32_t>(level << (8 * (r->channel % 4))));
      for (int b = 0; b < B; ++b) {
        const Words w = load_weights(weights + b * block_bytes + r->channel / 4 * 64);
        int32_t* to = sums + (r->pixel * B + b) * kLanes;
        if (r->value > 0)
          store(to, Dot4Small::add(load(to), x, w));
        else
          store(to, subtract(load(to), Dot4Small::add(zero(), x, w)));
      }
    }
  }
}

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_DEPTHWISE_H_
