// Sums of products of neighbouring pixels, held in registers.
#ifndef AKIDA_JAX_TILES_H_
#define AKIDA_JAX_TILES_H_

#include <algorithm>

#include "firing.h"
#include "kernels.h"
#include "lanes.h"
#include "vectors.h"

namespace akida_jax {
namespace AKIDA_PATH {

// How the products of one output pixel lie in memory: `rows` runs of `steps` words, a block of
// weights the same for each of `B` blocks of filters. Sums begin with `first`, if there is one.
struct Patch {
  int64_t rows, row_stride, steps, pixel_stride, block_bytes;
  const int32_t* first;
};

// Adds the products of `Steps` words of each pixel, each to sums of its own.
template <class Dot, int Steps, int P, int B>
inline void add_words(const Patch& patch, const uint8_t* in, const uint8_t* weights,
                      Sums (&sums)[Steps][P][B]) {
#pragma GCC unroll 4
  for (int step = 0; step < Steps; ++step) {
    Words w[B];
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b)
      w[b] = load_weights(weights + 64 * step + b * patch.block_bytes);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      const Words x = spread(load_word(in + 4 * step + p * patch.pixel_stride));
#pragma GCC unroll 4
      for (int b = 0; b < B; ++b) sums[step][p][b] = Dot::add(sums[step][p][b], x, w[b]);
    }
  }
}

// Writes sums [P][B][16]. Few pixels take several words at a time: a processor needs about ten
// sums that do not wait for each other.
template <class Dot, int P, int B>
void tile(const Patch& patch, const uint8_t* in, const uint8_t* weights, int32_t* out) {
  constexpr int kSums = P * B * kRegisters;
  constexpr int kSteps = kSums >= 8 ? 1 : kSums >= 4 ? 2 : 4;
  Sums sums[kSteps][P][B];
#pragma GCC unroll 4
  for (int step = 0; step < kSteps; ++step)
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
      for (int b = 0; b < B; ++b)
        sums[step][p][b] = step == 0 && patch.first ? load(patch.first + b * kLanes) : zero();
  for (int64_t row = 0; row < patch.rows; ++row) {
    const uint8_t* at = in + row * patch.row_stride;
    int64_t step = 0;
    for (; step + kSteps <= patch.steps; step += kSteps, at += 4 * kSteps, weights += 64 * kSteps)
      add_words<Dot, kSteps, P, B>(patch, at, weights, sums);
    for (; step < patch.steps; ++step, at += 4, weights += 64)
      add_words<Dot, 1, P, B>(patch, at, weights, reinterpret_cast<Sums(&)[1][P][B]>(sums));
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) {
      Sums total = sums[0][p][b];
#pragma GCC unroll 4
      for (int step = 1; step < kSteps; ++step) total = sum(total, sums[step][p][b]);
      store(out + (p * B + b) * kLanes, total);
    }
}

// Goes on with tiles of P pixels as long as they fit. `place(pixel)` says where sums are to lie,
// `take(pixel, count, sums)` is told when they do.
template <class Dot, int P, int B, class Out>
inline void tiles(const Patch& patch, const uint8_t* in, int64_t pixels, const uint8_t* weights,
                  int64_t& pixel, const Out& out) {
  if constexpr (P <= kPixels) {
    for (; pixel + P <= pixels; pixel += P) {
      int32_t* sums = out.place(pixel);
      tile<Dot, P, B>(patch, in + pixel * patch.pixel_stride, weights, sums);
      out.take(pixel, P, sums);
    }
  }
}

// All pixels of a line.
template <class Dot, int B, class Out>
void line(const Patch& patch, const uint8_t* in, int64_t pixels, const uint8_t* weights,
          const Out& out) {
  static_assert(kPixels <= kLargestTile, "sums of a tile must have room");
  int64_t pixel = 0;
  tiles<Dot, kLargestTile, B>(patch, in, pixels, weights, pixel, out);
  tiles<Dot, 8, B>(patch, in, pixels, weights, pixel, out);
  tiles<Dot, 7, B>(patch, in, pixels, weights, pixel, out);
  tiles<Dot, 4, B>(patch, in, pixels, weights, pixel, out);
  tiles<Dot, 2, B>(patch, in, pixels, weights, pixel, out);
  tiles<Dot, 1, B>(patch, in, pixels, weights, pixel, out);
}

// What becomes of sums. `place` may be asked for several tiles, numbered by `i`, before `take`.
template <int B>
struct KeepSums {  // all
  int32_t* to;
  int32_t* place(int64_t pixel, int64_t = 0) const { return to + pixel * B * kLanes; }
  void take(int64_t, int64_t, const int32_t*) const {}
};

template <int B>
struct GiveOut {  // of each tile at once, pixels counted from the first one of a row on
  const Layer& layer;
  const uint8_t* constants;
  const Target& target;
  int32_t* tiles;
  int64_t block, row;
  int32_t* place(int64_t, int64_t i = 0) const { return tiles + i * kTileRows * B * kLanes; }
  void take(int64_t pixel, int64_t count, const int32_t* sums) const {
    int64_t at = row + pixel / layer.map_columns, column = pixel % layer.map_columns;
    while (count > 0) {
      const int64_t here = std::min(count, layer.map_columns - column);
      for (int b = 0; b < B; ++b)
        Writer(layer, constants, target, block + b)
            .write(at, column, here, sums + b * kLanes, B * kLanes);
      sums += here * B * kLanes;
      count -= here;
      ++at;
      column = 0;
    }
  }
};

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_TILES_H_
