// The kernels of one path; AKIDA_PATH names it, lanes.h holds what is its own.
#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "lanes.h"

namespace akida_jax {
namespace AKIDA_PATH {
namespace {

// Vectors of the compiler: it splits them where the processor's are shorter.
typedef int32_t Ints __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));
typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef int16_t Shorts __attribute__((vector_size(64)));
typedef uint8_t ShortBytes __attribute__((vector_size(32)));

template <class T>
inline T read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// How the sums of one output pixel lie in memory: `rows` runs of `steps` words.
struct Patch {
  int64_t rows, row_stride, steps, pixel_stride, block_bytes;
};

// Sums of P neighbouring pixels and B blocks of filters, held in registers.
template <class Dot, int P, int B>
void tile(const Patch& patch, const uint8_t* in, const uint8_t* weights, int32_t* out) {
  Sums sums[P][B];
  for (auto& pixel : sums)
    for (auto& block : pixel) block = zero();
  for (int64_t row = 0; row < patch.rows; ++row) {
    const uint8_t* at = in + row * patch.row_stride;
    for (int64_t step = 0; step < patch.steps; ++step, at += 4, weights += 64) {
      Words w[B];
#pragma GCC unroll 4
      for (int b = 0; b < B; ++b) w[b] = load_weights(weights + b * patch.block_bytes);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const Words x = spread(load_word(at + p * patch.pixel_stride));
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) sums[p][b] = Dot::add(sums[p][b], x, w[b]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
    for (int b = 0; b < B; ++b) store(out + (p * B + b) * kLanes, sums[p][b]);
}

template <class Dot, int P, int B>
void tiles(const Patch& patch, const uint8_t*& in, int64_t& pixels, const uint8_t* weights,
           int32_t*& out) {
  if constexpr (P <= kPixels) {
    for (; pixels >= P; pixels -= P, in += P * patch.pixel_stride, out += P * B * kLanes)
      tile<Dot, P, B>(patch, in, weights, out);
  }
}

template <class Dot, int B>
void line(const Patch& patch, const uint8_t* in, int64_t pixels, const uint8_t* weights,
          int32_t* out) {
  if constexpr (kPixels != 8 && kPixels != 4)
    tiles<Dot, kPixels, B>(patch, in, pixels, weights, out);
  tiles<Dot, 8, B>(patch, in, pixels, weights, out);
  tiles<Dot, 7, B>(patch, in, pixels, weights, out);
  tiles<Dot, 4, B>(patch, in, pixels, weights, out);
  tiles<Dot, 2, B>(patch, in, pixels, weights, out);
  tiles<Dot, 1, B>(patch, in, pixels, weights, out);
}

// Levels of 16 potentials: clip(ceil((p - threshold) * 2**fraction / divisor), 0, limit).
class Firing {
 public:
  Firing(const Layer& layer, const uint8_t* constants, int64_t block)
      : threshold_(read<Ints>(constants + layer.threshold + block * 64)),
        reciprocal_(read<Floats>(constants + layer.reciprocal + block * 64)),
        divisor_(read<Ints>(constants + layer.divisor + block * 64)),
        limit_(static_cast<int32_t>(layer.limit)),
        wide_(layer.wide != 0),
        unit_(static_cast<double>(int64_t{1} << layer.fraction)) {}

  inline Bytes levels(Ints potentials) const { return wide_ ? far(potentials) : near(potentials); }

 private:
  // Exact for divisors up to 2**15 (plan.py): the reciprocal is a little too small, so that a
  // whole quotient is never passed and any other stays above the whole number below it.
  inline Bytes near(Ints potentials) const {
    Floats quotient = __builtin_convertvector(potentials - threshold_, Floats) * reciprocal_;
    quotient = quotient > 0.0f ? quotient : Floats{};
    quotient = quotient < 16.0f ? quotient : Floats{} + 16.0f;
    Ints level = __builtin_convertvector(quotient, Ints);
    level -= __builtin_convertvector(level, Floats) < quotient;
    level = level < limit_ ? level : Ints{} + limit_;
    return __builtin_convertvector(level, Bytes);
  }

  // A float64 quotient of such integers is whole only if the true one is.
  Bytes far(Ints potentials) const {
    Bytes result;
    for (int i = 0; i < kLanes; ++i) {
      const double above = static_cast<double>(potentials[i] - threshold_[i]) * unit_;
      const double level = std::ceil(above / divisor_[i]);
      result[i] = static_cast<uint8_t>(std::min<double>(std::max(level, 0.0), limit_));
    }
    return result;
  }

  Ints threshold_;
  Floats reciprocal_;
  Ints divisor_;
  int32_t limit_;
  bool wide_;
  double unit_;
};

// Gives out a block of filters of one pixel.
class Writer {
 public:
  Writer(const Layer& layer, const uint8_t* constants, const Target& target, int64_t block)
      : layer_(layer), target_(target), first_(block * kLanes),
        firing_(layer, constants, block),
        kept_(std::min(kLanes, layer.filters - first_)),
        bytes_(std::min(kLanes, target.pixel_bytes - first_)) {}

  inline void write(int64_t row, int64_t column, Ints potentials) const {
    if (layer_.limit == 0) {
      int32_t* at = target_.potentials +
                    (row * layer_.out_columns + column) * layer_.filters + first_;
      std::memcpy(at, &potentials, kept_ * sizeof(int32_t));
      return;
    }
    const Bytes levels = firing_.levels(potentials);
    uint8_t* at =
        target_.levels + row * target_.row_bytes + column * target_.pixel_bytes + first_;
    if (bytes_ == kLanes) {
      std::memcpy(at, &levels, kLanes);
    } else {
      std::memcpy(at, &levels, bytes_);
    }
  }

 private:
  const Layer& layer_;
  const Target& target_;
  int64_t first_;
  Firing firing_;
  size_t kept_, bytes_;
};

// Pools the potentials of an item, [map rows][map columns][blocks][16], and gives them out.
template <int B>
void finish(const Layer& layer, const uint8_t* constants, const Item& item, const Target& target,
            const int32_t* sums, int64_t block) {
  const int64_t columns = layer.map_columns, stride = B * kLanes;
  for (int b = 0; b < B; ++b) {
    const int32_t* from = sums + b * kLanes;
    if (layer.pool == kGlobalSum) {
      Ints total = read<Ints>(target.totals + (block + b) * kLanes);
      const int64_t pixels = (item.end_row - item.first_row) * columns;
      for (int64_t i = 0; i < pixels; ++i) total += read<Ints>(from + i * stride);
      std::memcpy(target.totals + (block + b) * kLanes, &total, sizeof total);
      continue;
    }
    const Writer writer(layer, constants, target, block + b);
    for (int64_t row = item.first_row; row < item.end_row; ++row) {
      if (layer.pool == kNoPool) {
        const int32_t* line = from + (row - item.first_map_row) * columns * stride;
        for (int64_t x = 0; x < columns; ++x) writer.write(row, x, read<Ints>(line + x * stride));
        continue;
      }
      const int64_t top = row * layer.pool_row_stride - layer.pool_top;
      const int64_t first_y = std::max<int64_t>(top, 0);
      const int64_t end_y = std::min(top + layer.pool_rows, layer.map_rows);
      for (int64_t x = 0; x < layer.out_columns; ++x) {
        const int64_t left = x * layer.pool_column_stride - layer.pool_left;
        const int64_t first_x = std::max<int64_t>(left, 0);
        const int64_t end_x = std::min(left + layer.pool_columns, columns);
        const int32_t* corner = from + (first_y - item.first_map_row) * columns * stride;
        Ints best = read<Ints>(corner + first_x * stride);
        for (int64_t y = first_y; y < end_y; ++y, corner += columns * stride) {
          for (int64_t i = first_x; i < end_x; ++i) {
            const Ints other = read<Ints>(corner + i * stride);
            best = best > other ? best : other;
          }
        }
        writer.write(row, x, best);
      }
    }
  }
}

template <class Dot, int B>
void convolve_densely(const Layer& layer, const Item& item, const uint8_t* in,
                      const uint8_t* weights, int32_t* sums) {
  const int64_t pixel = layer.channels4();
  const int64_t steps = layer.kernel_columns * pixel / 4;
  const Patch patch = {layer.kernel_rows, layer.row_bytes(), steps, layer.stride * pixel,
                       layer.kernel_rows * steps * 64};
  const uint8_t* from = in + item.first_map_row * layer.stride * layer.row_bytes();
  const int64_t rows = item.end_map_row - item.first_map_row;
  if (layer.kernel_rows == 1 && layer.stride == 1 && layer.stored_columns() == layer.map_columns) {
    line<Dot, B>(patch, from, rows * layer.map_columns, weights, sums);
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    line<Dot, B>(patch, from, layer.map_columns, weights, sums);
    from += layer.stride * layer.row_bytes();
    sums += layer.map_columns * B * kLanes;
  }
}

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

template <class Dot, int B>
void convolve(const Layer& layer, const Item& item, const uint8_t* in, const uint8_t* weights,
              const Scratch& scratch, bool by_events) {
  if (by_events) {
    convolve_events<Dot, B>(layer, item, in, weights, scratch);
  } else {
    convolve_densely<Dot, B>(layer, item, in, weights, scratch.sums);
  }
}

// Lists the events of the rows that an item reads; returns false where there are too many.
bool list_events(const Layer& layer, const Item& item, const uint8_t* in, const Scratch& scratch) {
  const int64_t first = item.first_map_row * layer.stride;
  const int64_t rows =
      (item.end_map_row - 1 - item.first_map_row) * layer.stride + layer.kernel_rows;
  const uint8_t* from = in + first * layer.row_bytes();
  const int64_t words = rows * layer.row_bytes() / 4;
  int32_t active = 0;
  for (int64_t i = 0; i < words; ++i) active += load_word(from + 4 * i) != 0;
  if (active * int64_t{100} > words * kEventPercent) return false;
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

// Depthwise sums of 32 channels along one row of the map; K taps each way.
template <int K>
void depthwise_line(const Layer& layer, const uint8_t* in, const Shorts* weights, int16_t* out,
                    int64_t out_stride) {
  Shorts taps[K * K];
  for (int i = 0; i < K * K; ++i) taps[i] = weights[i];
  const int64_t pixel = layer.channels4();
  for (int64_t x = 0; x < layer.map_columns; ++x) {
    const uint8_t* at = in + x * layer.stride * pixel;
    Shorts total = {};
    for (int dy = 0; dy < K; ++dy)
      for (int dx = 0; dx < K; ++dx) {
        const auto levels = read<ShortBytes>(at + dy * layer.row_bytes() + dx * pixel);
        total += __builtin_convertvector(levels, Shorts) * taps[dy * K + dx];
      }
    std::memcpy(out + x * out_stride, &total, sizeof total);
  }
}

void convolve_depthwise(const Layer& layer, const uint8_t* constants, const Item& item,
                        const uint8_t* in, int16_t* out) {
  const int64_t channels = layer.depthwise_channels(), size = layer.kernel_rows;
  Shorts taps[7 * 7];
  for (int64_t first = 0; first < channels; first += kDepthwiseLanes) {
    for (int64_t i = 0; i < size * size; ++i)
      taps[i] = read<Shorts>(constants + layer.kernel + (i * channels + first) * 2);
    for (int64_t row = item.first_map_row; row < item.end_map_row; ++row) {
      const uint8_t* from = in + row * layer.stride * layer.row_bytes() + first;
      int16_t* to = out + (row - item.first_map_row) * layer.map_columns * channels + first;
      if (size == 3) depthwise_line<3>(layer, from, taps, to, channels);
      if (size == 5) depthwise_line<5>(layer, from, taps, to, channels);
      if (size == 7) depthwise_line<7>(layer, from, taps, to, channels);
    }
  }
}

template <int B>
void run_blocks(const Layer& layer, const uint8_t* constants, const uint8_t* in,
                const Item& item, const Target& target, const Scratch& scratch, bool by_events,
                int64_t block) {
  if (layer.kind == kSeparable) {
    const int64_t channels = layer.depthwise_channels(), steps = layer.channels4() / 2;
    const Patch patch = {1, 0, steps, channels * 2, steps * 64};
    const int64_t pixels = (item.end_map_row - item.first_map_row) * layer.map_columns;
    line<Dot2, B>(patch, reinterpret_cast<const uint8_t*>(scratch.depthwise), pixels,
                  constants + layer.pointwise + block * steps * 64, scratch.sums);
  } else {
    const int64_t block_bytes =
        layer.kernel_rows * layer.kernel_columns * layer.channels4() * kLanes;
    const uint8_t* weights = constants + layer.kernel + block * block_bytes;
    if (layer.in_limit <= 127) {
      convolve<Dot4Small, B>(layer, item, in, weights, scratch, by_events);
    } else {
      convolve<Dot4, B>(layer, item, in, weights, scratch, by_events);
    }
  }
  finish<B>(layer, constants, item, target, scratch.sums, block);
}

void run_item(const Layer& layer, const uint8_t* constants, const uint8_t* in, const Item& item,
              const Target& target, const Scratch& scratch) {
  bool by_events = false;
  if (layer.kind == kSeparable) {
    convolve_depthwise(layer, constants, item, in, scratch.depthwise);
  } else {
    by_events = list_events(layer, item, in, scratch);
  }
  int64_t block = item.first_block;
  for (; block + kBlocks <= item.end_block; block += kBlocks)
    run_blocks<kBlocks>(layer, constants, in, item, target, scratch, by_events, block);
  for (; block < item.end_block; ++block)
    run_blocks<1>(layer, constants, in, item, target, scratch, by_events, block);
}

void finish_totals(const Layer& layer, const uint8_t* constants, const int32_t* totals,
                   const Target& target) {
  for (int64_t block = 0; block < layer.blocks(); ++block)
    Writer(layer, constants, target, block).write(0, 0, read<Ints>(totals + block * kLanes));
}

}  // namespace

const Kernels* kernels() {
  static const Kernels table = {run_item, finish_totals, kBlocks * kLanes};
  return &table;
}

}  // namespace AKIDA_PATH
}  // namespace akida_jax
