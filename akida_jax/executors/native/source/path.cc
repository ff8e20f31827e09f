// The kernels of one path; AKIDA_PATH names it, lanes.h holds what is its own.
#include <algorithm>

#include "amx.h"
#include "depthwise.h"
#include "firing.h"
#include "kernels.h"
#include "lanes.h"
#include "tiles.h"

namespace akida_jax {
namespace AKIDA_PATH {
namespace {

// Adds each event to the outputs that it reaches.
template <class Dot, int B>
void convolve_events(const Layer& layer, const Item& item, const uint8_t* in,
                     const uint8_t* weights, const Scratch& scratch) {
  const int64_t pixel = layer.channels4(), words = pixel / 4, columns = layer.map_columns;
  const int64_t steps = layer.kernel_columns * words;
  const int64_t block_bytes = layer.kernel_rows * steps * 64;
  const int64_t first_in = item.first_map_row * layer.stride;
  const int64_t rows = item.end_map_row - item.first_map_row;
  std::fill_n(scratch.sums, rows * columns * B * kLanes, 0);
  for (int64_t row = 0; row < rows; ++row) {
    int32_t* sums = scratch.sums + row * columns * B * kLanes;
    for (int64_t dy = 0; dy < layer.kernel_rows; ++dy) {
      const int64_t in_row = row * layer.stride + dy;
      const uint8_t* from = in + (first_in + in_row) * layer.row_bytes();
      const uint8_t* taps = weights + dy * steps * 64;
      const Event* event = scratch.events + (in_row ? scratch.event_ends[in_row - 1] : 0);
      const Event* end = scratch.events + scratch.event_ends[in_row];
      while (event != end) {
        const int64_t column = event->column;
        const Event* next = event;
        while (next != end && next->column == column) ++next;
        // Taps dx that carry the pixel to an output: column - dx = stride * x, x in the map.
        int64_t dx = std::max<int64_t>(column - (columns - 1) * layer.stride, 0);
        dx += (column - dx) % layer.stride;
        const int64_t last = std::min(column, layer.kernel_columns - 1);
        for (; dx <= last; dx += layer.stride) {
          int32_t* to = sums + (column - dx) / layer.stride * B * kLanes;
          Sums total[B];
          for (int b = 0; b < B; ++b) total[b] = load(to + b * kLanes);
          for (const Event* e = event; e != next; ++e) {
            const Words x = spread(load_word(from + column * pixel + e->word * 4));
            const uint8_t* w = taps + (dx * words + e->word) * 64;
            for (int b = 0; b < B; ++b)
              total[b] = Dot::add(total[b], x, load_weights(w + b * block_bytes));
          }
          for (int b = 0; b < B; ++b) store(to + b * kLanes, total[b]);
        }
        event = next;
      }
    }
  }
}

// Lists the events of the rows that an item reads; returns false where there are too many.
bool list_events(const Layer& layer, const Item& item, const uint8_t* in, const Scratch& scratch) {
  const int64_t first = item.first_map_row * layer.stride;
  const int64_t rows =
      (item.end_map_row - 1 - item.first_map_row) * layer.stride + layer.kernel_rows;
  const uint8_t* from = in + first * layer.row_bytes();
  const int64_t words = rows * layer.row_bytes() / 4;
  if (layer.event_percent == 0) return false;
  int32_t active = 0;
  for (int64_t i = 0; i < words; ++i) active += load_word(from + 4 * i) != 0;
  if (active * int64_t{100} > words * layer.event_percent) return false;
  const int64_t pixel_words = layer.channels4() / 4;
  Event* event = scratch.events;
  for (int64_t row = 0; row < rows; ++row, from += layer.row_bytes()) {
    for (int64_t x = 0; x < layer.stored_columns(); ++x) {
      const uint8_t* pixel = from + x * layer.channels4();
      for (int64_t word = 0; word < pixel_words; ++word)
        if (load_word(pixel + 4 * word))
          *event++ = {static_cast<uint16_t>(x), static_cast<uint16_t>(word)};
    }
    scratch.event_ends[row] = event - scratch.events;
  }
  return true;
}

// An item and the filters in hand, from a block on.
struct Work {
  const Layer& layer;
  const uint8_t* constants;
  const uint8_t* in;
  const Item& item;
  const Target& target;
  const Scratch& scratch;
  int64_t block;
  int64_t rows() const { return item.end_map_row - item.first_map_row; }
};

// Gives out the filters in hand, whose sums lie in rows of `pitch` pixels.
template <int B>
void finish_blocks(const Work& work, int64_t pitch) {
  for (int b = 0; b < B; ++b)
    finish(work.layer, work.constants, work.item, work.target, work.scratch.sums + b * kLanes,
           pitch, B * kLanes, work.block + b);
}

// Sums go out as they are made where nothing is pooled, else into memory.
template <class Dot, int B>
void convolve_line(const Work& work, const Patch& patch, const uint8_t* in, const uint8_t* weights,
                   int64_t row) {
  const int64_t columns = work.layer.map_columns;
  int32_t* sums = work.scratch.sums;
  if (work.layer.pool == kNoPool) {
    const GiveOut<B> out = {work.layer, work.constants, work.target,
                            sums,       work.block,     work.item.first_map_row + row};
    line<Dot, B>(patch, in, columns, weights, out);
  } else {
    line<Dot, B>(patch, in, columns, weights, KeepSums<B>{sums + row * columns * B * kLanes});
  }
}

template <int B>
void multiply_item(const Work& work, const Patch& patch, const Lines& lines, const uint8_t* in,
                   const uint8_t* weights, bool at_once) {
  int32_t* sums = work.scratch.sums;
  if (at_once) {
    const GiveOut<B> out = {work.layer, work.constants, work.target,
                            sums,       work.block,     work.item.first_map_row};
    multiply_lines<B>(patch, lines, in, weights, out);
  } else {
    multiply_lines<B>(patch, lines, in, weights, KeepSums<B>{sums});
  }
}

// How the pixels of a convolution are cut into lines: rows of the map, or all as one line, with
// what lies between two rows as pixels that nobody asks for. The latter fills tiles where rows are
// short.
Lines convolution_lines(const Work& work, const Patch& patch) {
  const int64_t rows = work.rows(), columns = work.layer.map_columns;
  const Lines by_rows = {rows, work.layer.stride * patch.row_stride, columns};
  const Lines as_one = {1, 0, (rows - 1) * work.layer.stored_columns() + columns};
  return 2 * tiles_of(as_one.pixels) <= rows * tiles_of(columns) ? as_one : by_rows;
}

Patch convolution_patch(const Layer& layer) {
  const int64_t pixel = layer.channels4(), steps = layer.kernel_columns * pixel / 4;
  return {layer.kernel_rows,    layer.row_bytes(),
          steps,                layer.stride * pixel,
          layer.kernel_rows * steps * 64, nullptr};
}

// Whether the rows in hand go by events: never where tiles multiply, which are quicker at any
// density, unless a plan says always.
bool goes_by_events(const Work& work) {
  const Layer& layer = work.layer;
  const Patch patch = convolution_patch(layer);
  if (layer.event_percent < 100 && fits_tiles(patch, convolution_lines(work, patch))) return false;
  return list_events(layer, work.item, work.in, work.scratch);
}

template <class Dot, int B>
void convolve_densely(const Work& work, const uint8_t* weights) {
  const Layer& layer = work.layer;
  const Patch patch = convolution_patch(layer);
  const uint8_t* in = work.in + work.item.first_map_row * layer.stride * layer.row_bytes();
  if (const Lines lines = convolution_lines(work, patch); fits_tiles(patch, lines)) {
    const bool by_rows = lines.bytes != 0;
    multiply_item<B>(work, patch, lines, in, weights, by_rows && layer.pool == kNoPool);
    if (!by_rows || layer.pool != kNoPool)
      finish_blocks<B>(work, by_rows ? layer.map_columns : layer.stored_columns());
    return;
  }
  for (int64_t row = 0; row < work.rows(); ++row)
    convolve_line<Dot, B>(work, patch, in + row * layer.stride * layer.row_bytes(), weights, row);
  if (layer.pool != kNoPool) finish_blocks<B>(work, layer.map_columns);
}

template <class Dot, int B>
void convolve(const Work& work, const uint8_t* weights, bool by_events) {
  if (by_events) {
    convolve_events<Dot, B>(work.layer, work.item, work.in, weights, work.scratch);
    finish_blocks<B>(work, work.layer.map_columns);
  } else {
    convolve_densely<Dot, B>(work, weights);
  }
}

// The second kernel of a separable layer, on the raised sums of the first.
template <int B>
void mix_channels(const Work& work, int64_t remainders) {
  const Layer& layer = work.layer;
  const int64_t channels = layer.depthwise_channels(), steps = layer.channels4() / 4;
  const int32_t* first = reinterpret_cast<const int32_t*>(work.constants + layer.first);
  const Patch patch = {1, 0, steps, channels, steps * 64, first + work.block * kLanes};
  const uint8_t* weights = work.constants + layer.pointwise + work.block * patch.block_bytes;
  const int64_t pixels = work.rows() * layer.map_columns;
  const Lines lines = {1, 0, pixels};
  const bool at_once = remainders == 0 && layer.pool == kNoPool;
  if (fits_tiles(patch, lines)) {
    multiply_item<B>(work, patch, lines, work.scratch.depthwise, weights, at_once);
  } else if (remainders == 0) {
    const int64_t line_bytes = layer.map_columns * channels;
    for (int64_t row = 0; row < work.rows(); ++row)
      convolve_line<Dot4Small, B>(work, patch, work.scratch.depthwise + row * line_bytes, weights,
                                  row);
  } else {
    line<Dot4Small, B>(patch, work.scratch.depthwise, pixels, weights,
                       KeepSums<B>{work.scratch.sums});
  }
  if (at_once) return;
  add_remainders<B>(work.scratch.remainders, remainders, weights, patch.block_bytes,
                    work.scratch.sums);
  finish_blocks<B>(work, layer.map_columns);
}

template <int B>
void run_blocks(const Work& work, bool by_events, int64_t remainders) {
  const Layer& layer = work.layer;
  if (layer.kind == kSeparable) {
    mix_channels<B>(work, remainders);
    return;
  }
  const int64_t block_bytes = layer.kernel_rows * layer.kernel_columns * layer.channels4() * kLanes;
  const uint8_t* weights = work.constants + layer.kernel + work.block * block_bytes;
  if (layer.small)
    convolve<Dot4Small, B>(work, weights, by_events);
  else
    convolve<Dot4, B>(work, weights, by_events);
}

void run_item(const Layer& layer, const uint8_t* constants, const uint8_t* in, const Item& item,
              const Target& target, const Scratch& scratch) {
  Work work = {layer, constants, in, item, target, scratch, item.first_block};
  bool by_events = false;
  int64_t remainders = 0;
  if (layer.kind == kSeparable)
    remainders = convolve_depthwise(layer, constants, item, in, scratch);
  else
    by_events = goes_by_events(work);
  for (; work.block + kBlocks <= item.end_block; work.block += kBlocks)
    run_blocks<kBlocks>(work, by_events, remainders);
  for (; work.block < item.end_block; ++work.block) run_blocks<1>(work, by_events, remainders);
}

void finish_totals(const Layer& layer, const uint8_t* constants, const int32_t* totals,
                   const Target& target) {
  for (int64_t block = 0; block < layer.blocks(); ++block)
    Writer(layer, constants, target, block).write(0, 0, 1, totals + block * kLanes, kLanes);
}

}  // namespace

const Kernels* kernels() {
  static const Kernels table = {run_item, finish_totals, release_tiles, kBlocks * kLanes,
                                kSharedMacs};
  return &table;
}

}  // namespace AKIDA_PATH
}  // namespace akida_jax
