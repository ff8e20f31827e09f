// Sums of products in a processor's tiles (AMX): 16 pixels by 16 filters by 64 bytes at a time.
//
// A block of weights is a tile as it lies in memory, a row of it a word of every filter; pixels are
// the rows of another, loaded straight from a map, as far apart as they are there.
#ifndef AKIDA_JAX_AMX_H_
#define AKIDA_JAX_AMX_H_

#include <algorithm>

#include "tiles.h"

#if defined(AKIDA_AMX)
#include <immintrin.h>
#endif

namespace akida_jax {
namespace AKIDA_PATH {

// Lines of pixels that lie `Patch::pixel_stride` apart, and how far a line is from the next.
struct Lines {
  int64_t count, bytes, pixels;
};

inline int64_t tiles_of(int64_t pixels) { return (pixels + kTileRows - 1) / kTileRows; }

#if defined(AKIDA_AMX)

constexpr int64_t kTileWords = 16;
constexpr int64_t kSharedMacs = 1'000'000;  // as long as the others' number takes with vectors
// With fewer words a step or fewer pixels a tile than these, vectors are quicker: measured on 1x1
// and 3x3 kernels, 28x28 pixels of 4 to 68 channels and 1 to 4 pixels of 256.
constexpr int64_t kLeastWords = 3;
constexpr int64_t kLeastPixels = 3;

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Pixels and words of the tiles that this thread has set up; 0 for none.
inline thread_local int64_t set_up = 0;

// Tiles 0..3 hold sums, 4 and 5 pixels, 6 and 7 weights.
inline void set_tiles_up(int64_t pixels, int64_t words) {
  const int64_t wanted = pixels << 8 | words;
  if (set_up == wanted) return;
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(i < 6 ? pixels : words);
    config.row_bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? 4 * words : 64);
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
  set_up = wanted;
}

// Leaves no trace of this thread's tiles for other code.
inline void release_tiles() {
  if (set_up == 0) return;
  _tile_release();
  set_up = 0;
}

// Pixels of each tile of a line; the last one may overlap the one before it.
inline int64_t tile_pixels(int64_t pixels) {
  const int64_t count = tiles_of(pixels);
  return (pixels + count - 1) / count;
}

// Words of a step: as many as fit a tile and go evenly into a run.
inline int64_t tile_words(int64_t steps) {
  int64_t words = std::min(steps, kTileWords);
  while (steps % words != 0) --words;
  return words;
}

inline bool fits_tiles(const Patch& patch, const Lines& lines) {
  return tile_words(patch.steps) >= kLeastWords && tile_pixels(lines.pixels) >= kLeastPixels;
}

// Where a tile of pixels begins and its sums go.
struct Place {
  const uint8_t* in;
  int32_t* sums;
};

// Arguments of the tile instructions stand in brackets: some compilers have macros for them that
// cast what comes first.
template <int Tiles>
inline void clear_sums(const Patch& patch, int64_t next_block) {
  if (patch.first) {  // each row the same
    _tile_loadd(0, patch.first, 0);
    if (Tiles > 1) _tile_loadd(1, (patch.first + next_block), 0);
    if (Tiles > 2) _tile_loadd(2, patch.first, 0);
    if (Tiles > 2) _tile_loadd(3, (patch.first + next_block), 0);
  } else {
    _tile_zero(0);
    if (Tiles > 1) _tile_zero(1);
    if (Tiles > 2) _tile_zero(2);
    if (Tiles > 2) _tile_zero(3);
  }
}

// Adds the products of `words` words of P tiles of pixels with B blocks of filters; the sums of a
// tile of pixels lie beside each other.
template <int P, int B>
inline void add_products(const Patch& patch, const Place* places, int64_t at,
                         const uint8_t* weights) {
  static_assert((P == 1 || (P == 2 && B == 2) || (P == 4 && B == 1)) && B <= 2);
  _tile_loadd(6, weights, 64);
  _tile_loadd(4, (places[0].in + at), patch.pixel_stride);
  _tile_dpbusd(0, 4, 6);
  if constexpr (B == 2) {
    _tile_loadd(7, (weights + patch.block_bytes), 64);
    _tile_dpbusd(1, 4, 7);
  }
  if constexpr (P == 2) {
    _tile_loadd(5, (places[1].in + at), patch.pixel_stride);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  if constexpr (P == 4) {
    _tile_loadd(5, (places[1].in + at), patch.pixel_stride);
    _tile_dpbusd(1, 5, 6);
    _tile_loadd(4, (places[2].in + at), patch.pixel_stride);
    _tile_dpbusd(2, 4, 6);
    _tile_loadd(5, (places[3].in + at), patch.pixel_stride);
    _tile_dpbusd(3, 5, 6);
  }
}

template <int P, int B>
inline void multiply_tiles(const Patch& patch, int64_t words, const Place* places,
                           const uint8_t* weights) {
  // What the program has written is to be in memory here, what it reads not to be read before the
  // end: not every compiler knows that these instructions touch memory.
  asm volatile("" ::: "memory");
  clear_sums<P * B>(patch, B == 1 ? 0 : kLanes);
  for (int64_t row = 0; row < patch.rows; ++row) {
    int64_t at = row * patch.row_stride;
    for (int64_t step = 0; step < patch.steps; step += words) {
      add_products<P, B>(patch, places, at, weights);
      at += 4 * words;
      weights += 64 * words;
    }
  }
  constexpr int64_t kPixelBytes = B * kLanes * sizeof(int32_t);
  _tile_stored(0, places[0].sums, kPixelBytes);
  if constexpr (B == 2) _tile_stored(1, (places[0].sums + kLanes), kPixelBytes);
  if constexpr (P == 2) {
    _tile_stored(2, places[1].sums, kPixelBytes);
    _tile_stored(3, (places[1].sums + kLanes), kPixelBytes);
  }
  if constexpr (P == 4) {
    _tile_stored(1, places[1].sums, kPixelBytes);
    _tile_stored(2, places[2].sums, kPixelBytes);
    _tile_stored(3, places[3].sums, kPixelBytes);
  }
  asm volatile("" ::: "memory");
}

// All pixels of all lines. Pixels are counted through all lines; `out` is asked where the sums of
// the first and second tile in hand are to lie, [pixels][B][16], and told when they do.
template <int B, class Out>
void multiply_lines(const Patch& patch, const Lines& lines, const uint8_t* in,
                    const uint8_t* weights, const Out& out) {
  constexpr int kTiles = B == 1 ? 4 : 2;
  const int64_t pixels = tile_pixels(lines.pixels), words = tile_words(patch.steps);
  const int64_t a_line = tiles_of(lines.pixels), count = lines.count * a_line;
  set_tiles_up(pixels, words);
  Place places[kTiles];
  int64_t firsts[kTiles];
  for (int64_t tile = 0; tile < count; tile += kTiles) {
    const int64_t here = std::min<int64_t>(kTiles, count - tile);
    for (int64_t i = 0; i < here; ++i) {
      const int64_t line = (tile + i) / a_line;
      const int64_t pixel = std::min((tile + i) % a_line * pixels, lines.pixels - pixels);
      firsts[i] = line * lines.pixels + pixel;
      places[i] = {in + line * lines.bytes + pixel * patch.pixel_stride, out.place(firsts[i], i)};
    }
    if (here == kTiles) {
      multiply_tiles<kTiles, B>(patch, words, places, weights);
    } else {
      for (int64_t i = 0; i < here; ++i)
        multiply_tiles<1, B>(patch, words, places + i, weights);
    }
    for (int64_t i = 0; i < here; ++i) out.take(firsts[i], pixels, places[i].sums);
  }
}

#else

constexpr int64_t kSharedMacs = 400'000;  // measured with 2 threads

inline void release_tiles() {}
inline bool fits_tiles(const Patch&, const Lines&) { return false; }
template <int B, class Out>
void multiply_lines(const Patch&, const Lines&, const uint8_t*, const uint8_t*, const Out&) {}

#endif

}  // namespace AKIDA_PATH
}  // namespace akida_jax

#endif  // AKIDA_JAX_AMX_H_
